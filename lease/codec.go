package lease

import (
	"encoding/binary"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
)

// The first byte of a command. A number is never reused.
const (
	opClaim byte = iota + 1
	opExtend
	opRevoke
	opTransfer
	opPin
	opUnpin
)

// Append encodes the command.
func (c Claim) Append(b []byte) []byte {
	b = appendText(appendKey(append(b, opClaim), c.Key), c.Holder)
	b = appendBool(binary.AppendUvarint(b, uint64(c.TTL)), c.Takeover)
	return appendText(b, c.Metadata.pairs)
}

// Append encodes the command.
func (c Extend) Append(b []byte) []byte {
	b = binary.AppendUvarint(appendKey(append(b, opExtend), c.Key), uint64(c.Token))
	return binary.AppendUvarint(b, uint64(c.TTL))
}

// Append encodes the command.
func (c Revoke) Append(b []byte) []byte {
	b = binary.AppendUvarint(appendKey(append(b, opRevoke), c.Key), uint64(c.Token))
	return appendBool(b, c.Force)
}

// Append encodes the command.
func (c Transfer) Append(b []byte) []byte {
	b = binary.AppendUvarint(appendKey(append(b, opTransfer), c.Key), uint64(c.Token))
	return binary.AppendUvarint(appendText(b, c.To), uint64(c.TTL))
}

// Append encodes the command.
func (c Pin) Append(b []byte) []byte {
	b = appendText(appendKey(append(b, opPin), c.Key), c.Owner)
	return binary.AppendUvarint(appendText(b, c.Reason), uint64(c.For))
}

// Append encodes the command.
func (c Unpin) Append(b []byte) []byte {
	return appendText(appendKey(append(b, opUnpin), c.Key), c.Owner)
}

// Decode reads a command: a *Claim, *Extend, *Revoke, *Transfer, *Pin or
// *Unpin. The error is of kind KindInvalid or KindTooLarge; whatever Decode
// accepts, the From functions would have accepted.
func Decode(data []byte) (state.Command, error) {
	if len(data) == 0 {
		return nil, interrex.Errorf(interrex.KindInvalid, "cannot decode lease command: it is empty")
	}
	d := decoder{rest: string(data[1:])}
	c := d.command(data[0])
	if c == nil {
		return nil, interrex.Errorf(interrex.KindInvalid, "cannot decode lease command: %d is no operation known here", data[0])
	}
	if !d.done() {
		return nil, interrex.Errorf(interrex.KindInvalid, "cannot decode lease command: operation %d is malformed", data[0])
	}
	if err := c.validate(); err != nil {
		return nil, err
	}
	return c, nil
}

// command reads the body of an operation; nil: unknown.
func (d *decoder) command(op byte) interface{ validate() error } {
	switch op {
	case opClaim:
		return &Claim{Key: d.key(), Holder: d.text(), TTL: d.duration(), Takeover: d.bool(), Metadata: Metadata{d.text()}}
	case opExtend:
		return &Extend{Key: d.key(), Token: interrex.Token(d.uvarint()), TTL: d.duration()}
	case opRevoke:
		return &Revoke{Key: d.key(), Token: interrex.Token(d.uvarint()), Force: d.bool()}
	case opTransfer:
		return &Transfer{Key: d.key(), Token: interrex.Token(d.uvarint()), To: d.text(), TTL: d.duration()}
	case opPin:
		return &Pin{Key: d.key(), Owner: d.text(), Reason: d.text(), For: d.duration()}
	case opUnpin:
		return &Unpin{Key: d.key(), Owner: d.text()}
	}
	return nil
}

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
