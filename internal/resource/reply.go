package resource

import (
	"encoding/binary"
	"strings"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/codec"
	"github.com/interrex/interrex/state"
)

// Reply is the reply to an applied command; *Reply is the table's state.Reply. It
// is immutable, and has only what the command does not have, because the records
// of request ids keep it for long. That of a delete is empty.
type Reply struct {
	Revision   interrex.Revision // the version
	UID        string
	Generation string
	Owner      *interrex.ResourceID // nil: none
	Cleared    int                  // number of resources that a Clear removed
}

// replyOf returns the reply to a write. It shares no memory with the row.
func replyOf(r *Record) *Reply {
	ids := strings.Clone(r.ID.UID + r.Generation)
	reply := &Reply{Revision: r.Revision, UID: ids[:len(r.ID.UID)], Generation: ids[len(r.ID.UID):]}
	if r.Owner != nil {
		reply.Owner = cloneID(*r.Owner)
	}
	return reply
}

// Resource returns the resource as a write has stored it.
func (r *Reply) Resource(written interrex.Resource) interrex.Resource {
	written.ID.UID, written.Generation, written.Version = r.UID, r.Generation, r.Revision.String()
	written.Owner = interrex.ResourceID{}
	if r.Owner != nil {
		written.Owner = *r.Owner
	}
	return written
}

// AppendReply encodes a *Reply for the records of request ids.
func (t *Table) AppendReply(b []byte, r state.Reply) []byte {
	reply := r.(*Reply)
	b = binary.AppendUvarint(b, uint64(reply.Revision))
	b = codec.AppendText(codec.AppendText(b, reply.UID), reply.Generation)
	return binary.AppendUvarint(appendOwner(b, reply.Owner), uint64(reply.Cleared))
}

// DecodeReply reads what AppendReply wrote; the error is of kind ErrInvalid.
func (t *Table) DecodeReply(b []byte) (state.Reply, error) {
	d := codec.NewDecoder(string(b))
	reply := &Reply{Revision: interrex.Revision(d.Uvarint()), UID: d.Text(), Generation: d.Text(), Owner: readOwner(&d), Cleared: int(d.Uvarint())}
	if !d.Done() {
		return nil, interrex.Errorf(interrex.ErrInvalid, "cannot decode resource reply: it is malformed")
	}
	return reply, nil
}

// AppendEvent is part of state.EventCodec.
func (t *Table) AppendEvent(b []byte, value any) []byte {
	return appendRecord(b, value.(*Record))
}

// DecodeEvent is part of state.EventCodec; the error is of kind ErrInvalid or
// ErrTooLarge.
func (t *Table) DecodeEvent(b []byte) (any, error) {
	d := codec.NewDecoder(string(b))
	r, err := readRecord(&d)
	if err != nil {
		return nil, about("cannot decode resource event", err)
	}
	return r, nil
}
