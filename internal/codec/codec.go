// Package codec owns the encoding that the tables' commands, replies and
// snapshots share: equal values are equal bytes.
package codec

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/interrex/interrex"
)

// AppendText appends a text with its length before it.
func AppendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// AppendTexts appends texts with their number before them.
func AppendTexts(b []byte, texts []string) []byte {
	b = binary.AppendUvarint(b, uint64(len(texts)))
	for _, s := range texts {
		b = AppendText(b, s)
	}
	return b
}

// AppendKey appends the key of a lease.
func AppendKey(b []byte, k interrex.Key) []byte {
	return AppendText(AppendText(b, k.Namespace), k.Name)
}

// AppendBool appends one byte.
func AppendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

// Decoder reads what the append functions wrote. After the first malformed
// field everything is zero, and it is not Done. The texts that it returns share
// memory with its input: clone those that are stored for long.
type Decoder struct {
	rest   string
	failed bool
}

// NewDecoder reads s.
func NewDecoder(s string) Decoder { return Decoder{rest: s} }

// Done reports whether everything was read and nothing was malformed.
func (d *Decoder) Done() bool { return !d.failed && d.rest == "" }

// Failed reports whether something was malformed.
func (d *Decoder) Failed() bool { return d.failed }

// Rest reads everything that is left.
func (d *Decoder) Rest() string {
	s := d.rest
	d.rest = ""
	return s
}

// More reports whether something is left to read.
func (d *Decoder) More() bool { return d.rest != "" }

// Fail marks the input as malformed.
func (d *Decoder) Fail() {
	d.rest, d.failed = "", true
}

// Uvarint refuses any but the shortest form, so that equal values are equal bytes.
func (d *Decoder) Uvarint() uint64 {
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
	d.Fail()
	return 0
}

// Varint reads what binary.AppendVarint wrote.
func (d *Decoder) Varint() int64 {
	v := d.Uvarint()
	return int64(v>>1) ^ -int64(v&1)
}

// Duration reads a Uvarint of nanoseconds.
func (d *Decoder) Duration() time.Duration { return time.Duration(d.Uvarint()) }

// Bool reads what AppendBool wrote.
func (d *Decoder) Bool() bool {
	v := d.Uvarint()
	if v > 1 {
		d.Fail()
	}
	return v == 1
}

// Text reads what AppendText wrote.
func (d *Decoder) Text() string {
	return d.Bytes(int(min(d.Uvarint(), math.MaxInt)))
}

// Bytes reads n bytes without a length before them.
func (d *Decoder) Bytes(n int) string {
	if n > len(d.rest) {
		d.Fail()
		return ""
	}
	s := d.rest[:n]
	d.rest = d.rest[n:]
	return s
}

// Key reads what AppendKey wrote.
func (d *Decoder) Key() interrex.Key {
	return interrex.Key{Namespace: d.Text(), Name: d.Text()}
}
