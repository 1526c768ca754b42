package lease

import (
	"encoding/binary"
	"time"

	"github.com/interrex/interrex"
)

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendKey(b []byte, k interrex.Key) []byte {
	return appendText(appendText(b, k.Namespace), k.Name)
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

// decoder reads what the append functions wrote. The first malformed field sets
// failed, and everything after it is zero. The texts that it gives are parts of
// rest: whoever keeps one for long copies it.
type decoder struct {
	rest   string
	failed bool
}

// done reports whether everything was there and nothing is left.
func (d *decoder) done() bool { return !d.failed && d.rest == "" }

func (d *decoder) fail() {
	d.rest, d.failed = "", true
}

// uvarint demands the shortest form, so that equal values are equal bytes.
func (d *decoder) uvarint() uint64 {
	var v uint64
	for i := 0; i < len(d.rest) && i < binary.MaxVarintLen64; i++ {
		c := d.rest[i]
		v |= uint64(c&0x7f) << (7 * i)
		if c >= 0x80 {
			continue
		}
		if c == 0 && i > 0 || i == binary.MaxVarintLen64-1 && c > 1 {
			break
		}
		d.rest = d.rest[i+1:]
		return v
	}
	d.fail()
	return 0
}

// varint reads what binary.AppendVarint wrote.
func (d *decoder) varint() int64 {
	v := d.uvarint()
	return int64(v>>1) ^ -int64(v&1)
}

func (d *decoder) duration() time.Duration { return time.Duration(d.uvarint()) }

func (d *decoder) bool() bool {
	v := d.uvarint()
	if v > 1 {
		d.fail()
	}
	return v == 1
}

func (d *decoder) text() string {
	n := d.uvarint()
	if n > uint64(len(d.rest)) {
		d.fail()
		return ""
	}
	s := d.rest[:n]
	d.rest = d.rest[n:]
	return s
}

func (d *decoder) key() interrex.Key {
	return interrex.Key{Namespace: d.text(), Name: d.text()}
}
