package method

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/validation"
	"github.com/interrex/interrex/internal/wire"
)

// The fields of a unary request that belong to the envelope on a stream.
type (
	identified interface {
		GetRequestId() string
		GetAttempt() uint32
	}
	waiting interface{ GetWait() *durationpb.Duration }
	fenced  interface{ GetFence() *interrexv1.Fence }
)

var lifted = []protoreflect.Name{"request_id", "attempt", "wait", "fence"}

// lift returns an envelope made from a unary request's fields. The message keeps
// them until it is forwarded: see sink.
func lift(m proto.Message) (*interrexv1.Operation, error) {
	e := &interrexv1.Operation{}
	if q, is := m.(identified); is {
		e.RequestId, e.Attempt = q.GetRequestId(), q.GetAttempt()
	}
	if q, is := m.(fenced); is {
		e.Fence = q.GetFence()
	}
	if q, is := m.(waiting); is && q.GetWait() != nil {
		var in wire.Reader
		wait := in.Duration("wait", q.GetWait())
		in.Fail(validation.Wait(wait))
		if in.Err != nil {
			return nil, in.Err
		}
		if wait > 0 {
			e.WaitMs = wire.Millis(wait)
		}
	}
	return e, nil
}

// sink clears the fields of a message that its envelope has.
func sink(m proto.Message) {
	r := m.ProtoReflect()
	for _, name := range lifted {
		if f := r.Descriptor().Fields().ByName(name); f != nil {
			r.Clear(f)
		}
	}
}

// Unlifted refuses a message on a stream that sets fields of its envelope.
func Unlifted(m proto.Message) error {
	if field := liftedIn(m); field != "" {
		return interrex.Errorf(interrex.ErrInvalid, "%s: on a stream it belongs in the operation, not in its body", field)
	}
	return nil
}

// liftedIn returns a field of the envelope that a message sets; "" if there is none.
func liftedIn(m proto.Message) (field string) {
	if q, is := m.(identified); is && (q.GetRequestId() != "" || q.GetAttempt() != 0) {
		field = "request_id"
	}
	if q, is := m.(waiting); is && q.GetWait() != nil {
		field = "wait"
	}
	if q, is := m.(fenced); is && q.GetFence() != nil {
		field = "fence"
	}
	return field
}

// readOptions determine how fresh a read must be.
type readOptions struct {
	Eventual bool // read this agent's current state
	Min      interrex.Revision
}

// readOptionsOf returns the options in a request of a method, if it has such fields.
func readOptionsOf(method *Method, m proto.Message) (o readOptions, err error) {
	var in wire.Reader
	o.Eventual = method.eventual
	if q, is := m.(interface {
		GetConsistency() interrexv1.Consistency
	}); is {
		if c := in.Consistency(q.GetConsistency()); c != interrex.Default {
			o.Eventual = c == interrex.Eventual
		}
	}
	if q, is := m.(interface{ GetMinRevision() uint64 }); is {
		o.Min = interrex.Revision(q.GetMinRevision())
	}
	return o, in.Err
}
