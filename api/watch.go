package api

import (
	"context"
	"iter"
	"net/http"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
)

// Feed describes the events that one request covers, whose messages are of type E.
type Feed[E proto.Message] struct {
	// Since is exclusive. With 0, a feed that has a Snapshot begins with it.
	Since interrex.Revision
	// Match reports whether the watch covers an event, which may be of any
	// table. It is called for every event in Scope, at least, and must not write to it.
	Match func(*state.Event) bool
	// Scope, if it is not zero, covers all events that Match matches, so that others
	// need not be shown to it: a watch costs nothing for an event outside its scope.
	Scope Scope
	// Snapshot is optional. Without it a watch since 0 begins with the first event,
	// and fails with ErrCompacted if that is no longer kept.
	Snapshot *Snapshot[E]
}

// Scope is what all events of a feed have in common. The zero Scope covers all events.
type Scope struct {
	Table  state.TableID // 0: any
	Kinds  []string      // any of them; empty: any kind
	Tags   []string      // of a change that a user has appended: any of them; empty: tagged or not
	Skip   int           // parts of the event's key, each with the / after it, that may be any; up to 3
	Key    string        // the rest of the key; empty: any
	Prefix string        // of the rest of the key
}

// Snapshot provides the rows that exist already, with which a watch since 0 begins.
type Snapshot[E proto.Message] struct {
	// Rows returns the first rows after a key that the watch covers, at most most of
	// them. The empty key is before all others.
	Rows func(after string, most int) Rows[E]
	// Compare orders keys as Rows does; nil: as strings.
	Compare func(a, b string) int
	// End returns the event that ends a snapshot, as of a revision.
	End func(interrex.Revision) E
}

// Rows is a part of a table's rows as of one revision, which is read while the table
// cannot change.
type Rows[E proto.Message] struct {
	// All yields, in order, the key of each row, which is that of its events, and
	// the event made of it. It is run once, outside the table's lock, and may be
	// stopped early.
	All      iter.Seq2[string, E]
	More     bool // there are rows after these
	Revision interrex.Revision
}

// WatchMethod declares a method that streams events. Use Watch to make one; its
// fields are for the server.
type WatchMethod struct {
	// Procedure is its name in generated code: /interrex.v1.LeaseService/Watch.
	Procedure string
	// NewRequest, NewResponse and NewEvent return new, empty messages.
	NewRequest, NewResponse, NewEvent func() proto.Message
	// Feed returns the feed of a request.
	Feed func(request proto.Message, s state.State) (Feed[proto.Message], error)
	// Event returns the message of an event that a feed of the method matches.
	Event func(*state.Event, state.State) (proto.Message, error)
	// Handler serves the method on a call of its own. send sends a message of
	// NewResponse, or, given nil, the headers.
	Handler func(serve func(ctx context.Context, h http.Header, request proto.Message, send func(proto.Message) error) error, o ...connect.HandlerOption) http.Handler
}

// Watch returns a method that streams events, on the stream that a client has for
// all its watches, and on a call of its own. procedure is its name in generated
// code: /interrex.v1.LeaseService/Watch. Its .proto declares it as CLASS_WATCH; the
// first field of its response A is "repeated E events = 1".
//
// read returns the feed of a request; its error is of ErrInvalid and names the
// field. event returns the message of an event that a feed of the method matches. It
// is called once for all watches of the method, so it must not depend on the request.
func Watch[A, Q, E any, PA generated[A], PQ generated[Q], PE generated[E]](procedure string, read func(PQ, state.State) (Feed[PE], error), event func(*state.Event, state.State) (PE, error)) WatchMethod {
	return WatchMethod{
		Procedure:   procedure,
		NewRequest:  func() proto.Message { return PQ(new(Q)) },
		NewResponse: func() proto.Message { return PA(new(A)) },
		NewEvent:    func() proto.Message { return PE(new(E)) },
		Feed: func(q proto.Message, s state.State) (Feed[proto.Message], error) {
			f, err := read(q.(PQ), s)
			return f.untyped(), err
		},
		Event: func(e *state.Event, s state.State) (proto.Message, error) { return event(e, s) },
		Handler: func(serve func(context.Context, http.Header, proto.Message, func(proto.Message) error) error, o ...connect.HandlerOption) http.Handler {
			return connect.NewServerStreamHandler(procedure, func(ctx context.Context, r *connect.Request[Q], to *connect.ServerStream[A]) error {
				return serve(ctx, r.Header(), PQ(r.Msg), func(m proto.Message) error {
					a, _ := m.(PA)
					return to.Send((*A)(a))
				})
			}, o...)
		},
	}
}

// untyped returns the feed with messages of any type.
func (f Feed[E]) untyped() Feed[proto.Message] {
	out := Feed[proto.Message]{Since: f.Since, Match: f.Match, Scope: f.Scope}
	if s := f.Snapshot; s != nil {
		out.Snapshot = &Snapshot[proto.Message]{
			Rows:    func(after string, most int) Rows[proto.Message] { return s.Rows(after, most).untyped() },
			Compare: s.Compare,
			End:     func(at interrex.Revision) proto.Message { return s.End(at) },
		}
	}
	return out
}

func (r Rows[E]) untyped() Rows[proto.Message] {
	return Rows[proto.Message]{More: r.More, Revision: r.Revision, All: func(yield func(string, proto.Message) bool) {
		for key, e := range r.All {
			if !yield(key, e) {
				return
			}
		}
	}}
}
