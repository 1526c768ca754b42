package webhook

import (
	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/codec"
	"github.com/interrex/interrex/state"
)

// Reply is the reply to an applied command; *Reply is the table's state.Reply. It
// is immutable.
type Reply struct {
	// Hook is the hook after a Set, or before a Delete, without its secrets; nil
	// after an Advance.
	Hook *Hook
	// Secret is the one that the command generated.
	Secret Secret
}

// AppendReply encodes a *Reply for the records of request ids.
func (t *Table) AppendReply(b []byte, r state.Reply) []byte {
	reply := r.(*Reply)
	b = codec.AppendBool(b, reply.Hook != nil)
	if reply.Hook != nil {
		b = appendHook(b, reply.Hook)
	}
	return codec.AppendText(b, string(reply.Secret))
}

// DecodeReply reads what AppendReply wrote; the error is of kind ErrInvalid.
func (t *Table) DecodeReply(b []byte) (state.Reply, error) {
	d := newDecoder(string(b))
	reply := &Reply{}
	if d.Bool() {
		reply.Hook = d.hook()
	}
	reply.Secret = Secret(d.Text())
	if !d.Done() {
		return nil, interrex.Errorf(interrex.ErrInvalid, "cannot decode webhook reply: it is malformed")
	}
	return reply, nil
}

// AppendEvent encodes the value of an event, a *Hook without secrets.
func (t *Table) AppendEvent(b []byte, value any) []byte { return appendHook(b, value.(*Hook)) }

// DecodeEvent reads what AppendEvent wrote; the error is of kind ErrInvalid.
func (t *Table) DecodeEvent(b []byte) (any, error) {
	d := newDecoder(string(b))
	h := d.hook()
	if !d.Done() {
		return nil, interrex.Errorf(interrex.ErrInvalid, "cannot decode webhook event: it is malformed")
	}
	return h, nil
}
