package change

import (
	"encoding/binary"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/codec"
	"github.com/interrex/interrex/state"
)

func appendUser(b []byte, u *User) []byte {
	b = binary.AppendUvarint(codec.AppendText(b, u.Data), uint64(len(u.Tags)))
	for _, tag := range u.Tags {
		b = codec.AppendText(b, tag)
	}
	return b
}

func readUser(d *codec.Decoder) *User {
	u := &User{Data: d.Text()}
	for n := d.Uvarint(); n > 0 && !d.Failed(); n-- {
		if len(u.Tags) == MaxTags {
			d.Fail()
			break
		}
		u.Tags = append(u.Tags, d.Text())
	}
	return u
}

// AppendEvent is part of state.EventCodec.
func (t *Table) AppendEvent(b []byte, value any) []byte { return appendUser(b, value.(*User)) }

// DecodeEvent is part of state.EventCodec; the error is of kind ErrInvalid or
// ErrTooLarge.
func (t *Table) DecodeEvent(b []byte) (any, error) {
	d := codec.NewDecoder(string(b))
	u := readUser(&d)
	if !d.Done() {
		return nil, interrex.Errorf(interrex.ErrInvalid, "cannot decode change: it is malformed")
	}
	return u, (&Append{u.Data, u.Tags}).Validate()
}

// AppendReply is part of state.Table.
func (t *Table) AppendReply(b []byte, r state.Reply) []byte {
	return binary.AppendVarint(b, r.(*Reply).Time)
}

// DecodeReply is part of state.Table; the error is of kind ErrInvalid.
func (t *Table) DecodeReply(b []byte) (state.Reply, error) {
	d := codec.NewDecoder(string(b))
	r := &Reply{d.Varint()}
	if !d.Done() {
		return nil, interrex.Errorf(interrex.ErrInvalid, "cannot decode change reply: it is malformed")
	}
	return r, nil
}
