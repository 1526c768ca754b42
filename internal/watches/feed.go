package watches

import (
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/api"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/method"
	"github.com/interrex/interrex/state"
)

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

// encoded returns a feed as it is served.
func encoded(f api.Feed[proto.Message]) feed {
	out := feed{since: f.Since, match: f.Match}
	if s := f.Snapshot; s != nil {
		out.compare = s.Compare
		if out.compare == nil {
			out.compare = strings.Compare
		}
		out.complete = func(at interrex.Revision) ([]byte, error) { return proto.Marshal(s.End(at)) }
		out.present = func(after string, most room) presentPage { return pageOf(s, after, most) }
	}
	return out
}

// pageOf encodes rows until there is no more room.
func pageOf(s *api.Snapshot[proto.Message], after string, most room) presentPage {
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

// watchable is a method whose watches are served.
type watchable struct {
	*method.Watch
	state *state.State
	guard func(procedure string, err *error) // see standing.Standing.Guard
}

// read reads a request.
func (m *watchable) read(q proto.Message) (feed, error) {
	f, err := m.Declared.Feed(q, m.state)
	return encoded(f), err
}

// decode reads the bytes of a request.
func (m *watchable) decode(body []byte) (f feed, err error) {
	defer m.guard(m.Procedure, &err)
	q, err := m.Watch.Decode(body)
	if err != nil {
		return feed{}, err
	}
	return m.read(q)
}

// encode makes the message of an event.
func (m *watchable) encode(e *state.Event) (b []byte, err error) {
	defer m.guard(m.Procedure, &err)
	if _, lost := e.Value.(state.Lost); lost {
		compacted := interrex.Errorf(interrex.KindCompacted, "watch: what happened at revision %d is known, and not how: list again, or watch since then", e.Revision)
		compacted.FirstRevision = e.Revision
		return nil, compacted
	}
	made, err := m.Declared.Event(e, m.state)
	if err != nil {
		return nil, err
	}
	return proto.Marshal(made)
}

// responses are the messages of one watch that has a call of its own.
type responses struct {
	empty    func() proto.Message
	transmit func(proto.Message) error
	json     bool
}

// begin sends the headers.
func (r responses) begin() error { return r.transmit(nil) }

// send sends events that are encoded already. In the binary encoding their
// bytes go into the message as they are: protobuf writes unknown fields as it
// got them.
func (r responses) send(all []*interrexv1.WatchEvents) error {
	var b []byte
	for _, group := range all {
		for _, e := range group.GetEvents() {
			b = protowire.AppendTag(b, method.EventsField, protowire.BytesType)
			b = protowire.AppendBytes(b, e)
		}
	}
	m := r.empty()
	if !r.json {
		m.ProtoReflect().SetUnknown(b)
	} else if err := proto.Unmarshal(b, m); err != nil {
		return err
	}
	return r.transmit(m)
}
