package api

import (
	"cmp"
	"context"
	"iter"
	"net/http"
	"strings"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/state"
	"github.com/interrex/interrex/wire"
)

// Feed is what one request for events asks for, whose messages are E.
type Feed[E proto.Message] struct {
	// Since is exclusive. With 0, a feed that has a Snapshot begins with it.
	Since interrex.Revision
	// Match reports whether the watch covers an event, which may be of any
	// table. It is called for every event, and must not write to it.
	Match func(*state.Event) bool
	// Snapshot is optional. Without it a watch since 0 begins with the first
	// event, and is KindCompacted when that is not kept any more.
	Snapshot *Snapshot[E]
}

// Snapshot is how a watch begins whose caller knows nothing yet: with what is
// present.
type Snapshot[E proto.Message] struct {
	// Rows returns the first rows after a key, at most so many, of those that
	// the watch covers; after the empty key the first of all.
	Rows func(after string, most int) Rows[E]
	// Compare orders keys as Rows does; nil: it compares them as strings.
	Compare func(a, b string) int
	// End makes the event that says that all rows up to a revision were sent.
	End func(interrex.Revision) E
}

// Rows are some rows of a table as of one revision, which is read while the
// table cannot change.
type Rows[E proto.Message] struct {
	// All are the rows' keys, which are those of their events, in their order,
	// and the event made of each. It runs once, outside the table's lock, and
	// may be ended early.
	All      iter.Seq2[string, E]
	More     bool // there are others behind them
	Revision interrex.Revision
}

// WatchMethod is a method that streams events. Watch makes one.
type WatchMethod struct {
	wire.Method
	err     error  // why it cannot be served
	setting string // see Service.Setting

	// feed reads the bytes of a request.
	feed func(body []byte, s *state.State) (feed, error)
	// event makes the message of an event, encoded.
	event func(*state.Event, *state.State) ([]byte, error)
	// encode is event for the server that serves the method.
	encode func(*state.Event) ([]byte, error)
	face   func(*Server, *WatchMethod) http.Handler
}

// feed is a Feed whose messages are encoded.
type feed struct {
	since    interrex.Revision
	match    func(*state.Event) bool
	present  func(after string, most room) presentPage // nil: it has no snapshot
	compare  func(a, b string) int
	complete func(interrex.Revision) ([]byte, error)
}

// room bounds what is sent at once. One event may exceed it.
type room struct{ events, bytes int }

// presentPage is a part of a table's rows, as of one revision.
type presentPage struct {
	events   [][]byte
	last     string // the key of the last one
	more     bool   // there are others behind it
	revision interrex.Revision
	err      error
}

// Watch returns a method that streams events, on the stream that a client has
// for all its watches, and on a call of its own. procedure is its name in
// generated code: /interrex.v1.LeaseService/Watch. Its .proto declares it as
// CLASS_WATCH; the first field of its response A is "repeated E events = 1".
//
// read reads a request; its error is of KindInvalid and names the field. event
// makes the message of an event that a feed of the method matches. It is called
// once for all watches of the method, and so must not depend on the request.
func Watch[A, Q, E any, PA wire.Message[A], PQ wire.Message[Q], PE wire.Message[E]](procedure string, read func(PQ, *state.State) (Feed[PE], error), event func(*state.Event, *state.State) (PE, error)) WatchMethod {
	var m WatchMethod
	m.Method, m.err = wire.MethodOf(procedure)
	if m.err == nil {
		m.err = cmp.Or(m.Takes(PQ(nil), PA(nil)), m.streams(PA(nil), PE(nil)))
	}
	asks := func(q PQ, s *state.State) (feed, error) {
		f, err := read(q, s)
		return encoded(f), err
	}
	m.feed = func(body []byte, s *state.State) (feed, error) {
		q := PQ(new(Q))
		if err := proto.Unmarshal(body, q); err != nil {
			return feed{}, interrex.Errorf(interrex.KindInvalid, "body: it is not a %s: %v", q.ProtoReflect().Descriptor().Name(), err)
		}
		return asks(q, s)
	}
	m.event = func(e *state.Event, s *state.State) ([]byte, error) {
		if _, lost := e.Value.(state.Lost); lost {
			compacted := interrex.Errorf(interrex.KindCompacted, "watch: what happened at revision %d is known, and not how: list again, or watch since then", e.Revision)
			compacted.FirstRevision = e.Revision
			return nil, compacted
		}
		made, err := event(e, s)
		if err != nil {
			return nil, err
		}
		return proto.Marshal(made)
	}
	m.face = func(s *Server, m *WatchMethod) http.Handler {
		return connect.NewServerStreamHandler(m.Procedure, func(ctx context.Context, r *connect.Request[Q], to *connect.ServerStream[A]) error {
			f, err := asks(r.Msg, s.config.State)
			return s.watch(ctx, m, f, err, &responses[A, PA]{to: to, json: strings.Contains(r.Header().Get("Content-Type"), "json")})
		}, s.options())
	}
	return m
}

// streams checks the class of the method, and that its response has the events
// where Watch puts them.
func (m *WatchMethod) streams(response, event proto.Message) error {
	if m.Class != interrexv1.Class_CLASS_WATCH {
		return interrex.Errorf(interrex.KindInvalid, "method %s: its .proto does not say that it is a watch", m.Procedure)
	}
	field := response.ProtoReflect().Descriptor().Fields().ByNumber(eventsField)
	want := event.ProtoReflect().Descriptor()
	if field == nil || field.Cardinality() != protoreflect.Repeated || field.Message() == nil || field.Message().FullName() != want.FullName() {
		return interrex.Errorf(interrex.KindInvalid, "method %s: its response lacks the field 'repeated %s events = %d'", m.Procedure, want.Name(), eventsField)
	}
	return nil
}

// encoded returns a feed as it is served.
func encoded[E proto.Message](f Feed[E]) feed {
	out := feed{since: f.Since, match: f.Match}
	if s := f.Snapshot; s != nil {
		out.compare = s.Compare
		if out.compare == nil {
			out.compare = strings.Compare
		}
		out.complete = func(at interrex.Revision) ([]byte, error) { return proto.Marshal(s.End(at)) }
		out.present = func(after string, most room) presentPage { return s.page(after, most) }
	}
	return out
}

// page encodes rows until there is no more room.
func (s *Snapshot[E]) page(after string, most room) presentPage {
	rows := s.Rows(after, most.events)
	p := presentPage{more: rows.More, revision: rows.Revision}
	bytes := 0
	for key, e := range rows.All {
		if bytes >= most.bytes && len(p.events) > 0 {
			p.more = true
			break
		}
		var b []byte
		if b, p.err = proto.Marshal(e); p.err != nil {
			return p
		}
		p.events, p.last = append(p.events, b), key
		bytes += len(b)
	}
	return p
}

// ask reads a request for the caller of a stream.
func (m *WatchMethod) ask(s *Server, c caller, body []byte) (f feed, err error) {
	defer s.guard(m.Number, &err)
	f, err = m.feed(body, s.config.State)
	if err != nil {
		return feed{}, err
	}
	return f, s.served(m.setting, c)
}

// eventsField is the number of the field of a response that has the events.
const eventsField = 1

// responses are the messages of one watch that has a call of its own.
type responses[A any, PA wire.Message[A]] struct {
	to   *connect.ServerStream[A]
	json bool
}

// begin sends the headers.
func (r *responses[A, PA]) begin() error { return r.to.Send(nil) }

// send sends events that are encoded already. In the binary encoding their
// bytes go into the message as they are: protobuf writes unknown fields as it
// got them.
func (r *responses[A, PA]) send(all []*interrexv1.WatchEvents) error {
	var b []byte
	for _, group := range all {
		for _, e := range group.GetEvents() {
			b = protowire.AppendTag(b, eventsField, protowire.BytesType)
			b = protowire.AppendBytes(b, e)
		}
	}
	m := PA(new(A))
	if !r.json {
		m.ProtoReflect().SetUnknown(b)
	} else if err := proto.Unmarshal(b, m); err != nil {
		return err
	}
	return r.to.Send((*A)(m))
}
