package lease

import (
	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/codec"
)

// AppendEvent is part of state.EventCodec.
func (t *Table) AppendEvent(b []byte, value any) []byte { return appendRecord(b, value.(Record)) }

// DecodeEvent is part of state.EventCodec; the error is of kind ErrInvalid.
func (t *Table) DecodeEvent(b []byte) (any, error) {
	d := codec.NewDecoder(string(b))
	r := readRecord(&d)
	if !d.Done() {
		return nil, interrex.Errorf(interrex.ErrInvalid, "cannot decode lease event: it is malformed")
	}
	return r, nil
}
