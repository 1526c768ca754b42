package machine

import (
	"encoding/binary"
	"errors"
	"unsafe"
)

var (
	errShort   = errors.New("it ends too early")
	errVarint  = errors.New("it has a malformed number")
	errTooMany = errors.New("a count is larger than what follows")
)

// decoder reads values from the front of b. After its first error it returns zero
// values, so a caller checks err once.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
	d.b = nil
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.fail(errShort)
		return 0
	}
	c := d.b[0]
	d.b = d.b[1:]
	return c
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail(errVarint)
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail(errVarint)
		return 0
	}
	d.b = d.b[n:]
	return v
}

// uint64 reads a number of eight bytes.
func (d *decoder) uint64() uint64 {
	if len(d.b) < 8 {
		d.fail(errShort)
		return 0
	}
	v := binary.BigEndian.Uint64(d.b)
	d.b = d.b[8:]
	return v
}

// small reads a number that must not exceed limit.
func (d *decoder) small(limit uint64) uint64 {
	v := d.uvarint()
	if v > limit {
		d.fail(errVarint)
		return 0
	}
	return v
}

// count reads the number of items that take at least one byte each. It checks that
// against the input, so that a wrong count cannot cause a large allocation.
func (d *decoder) count() int {
	v := d.uvarint()
	if v > uint64(len(d.b)) {
		d.fail(errTooMany)
		return 0
	}
	return int(v)
}

// bytes reads bytes with their length before them: a part of b, not a copy.
func (d *decoder) bytes() []byte {
	n := d.count()
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

// text reads a string that shares the memory of b.
func (d *decoder) text() string {
	v := d.bytes()
	return unsafe.String(unsafe.SliceData(v), len(v))
}

// end returns the first error, or one if bytes are left.
func (d *decoder) end() error {
	if d.err == nil && len(d.b) != 0 {
		return errors.New("it has bytes after its end")
	}
	return d.err
}

func appendBytes[T []byte | string](b []byte, v T) []byte {
	b = binary.AppendUvarint(b, uint64(len(v)))
	return append(b, v...)
}
