package member

import (
	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/codec"
	"github.com/interrex/interrex/state"
)

// Reply is the reply to an applied command; *Reply is the table's state.Reply. It
// is immutable.
type Reply struct {
	Member *Member    // that was changed or removed; nil: none
	Token  *JoinToken // that was created or revoked; nil: none
}

// AppendReply encodes a *Reply for the records of request ids.
func (t *Table) AppendReply(b []byte, r state.Reply) []byte {
	reply := r.(*Reply)
	b = codec.AppendBool(b, reply.Member != nil)
	if reply.Member != nil {
		b = appendMember(b, reply.Member)
	}
	b = codec.AppendBool(b, reply.Token != nil)
	if reply.Token != nil {
		b = appendToken(b, reply.Token)
	}
	return b
}

// DecodeReply reads what AppendReply wrote; the error is of kind ErrInvalid.
func (t *Table) DecodeReply(b []byte) (state.Reply, error) {
	d := newDecoder(string(b))
	reply := &Reply{}
	if d.Bool() {
		reply.Member = d.member()
	}
	if d.Bool() {
		reply.Token = d.token()
	}
	if !d.Done() {
		return nil, interrex.Errorf(interrex.ErrInvalid, "cannot decode member reply: it is malformed")
	}
	return reply, nil
}

// AppendEvent encodes the value of an event, a *Member.
func (t *Table) AppendEvent(b []byte, value any) []byte { return appendMember(b, value.(*Member)) }

// DecodeEvent reads what AppendEvent wrote; the error is of kind ErrInvalid.
func (t *Table) DecodeEvent(b []byte) (any, error) {
	d := newDecoder(string(b))
	m := d.member()
	if !d.Done() {
		return nil, interrex.Errorf(interrex.ErrInvalid, "cannot decode member event: it is malformed")
	}
	return m, nil
}
