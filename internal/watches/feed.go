package watches

import (
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/api"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/interest"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/method"
	"github.com/interrex/interrex/state"
)

// feed is an api.Feed with encoded messages.
type feed struct {
	since    interrex.Revision
	match    func(*state.Event) bool
	scope    interest.Scope                            // of the events that match
	present  func(after string, most room) presentPage // nil if there is no snapshot
	compare  func(a, b string) int
	request  proto.Message
	complete func(interrex.Revision) ([]byte, error)
}

// room bounds what is sent at once. One event may exceed it.
type room struct{ events, bytes int }

// presentPage is a part of a table's rows, as of one revision.
type presentPage struct {
	events   [][]byte
	last     string // the key of the last row
	more     bool   // there are rows after it
	revision interrex.Revision
	err      error
}

// encoded returns a feed with encoded messages.
func encoded(f api.Feed[proto.Message]) feed {
	out := feed{since: f.Since, match: f.Match, scope: interest.Scope{
		Table: uint16(f.Scope.Table), Kinds: f.Scope.Kinds, Tags: f.Scope.Tags, Skip: f.Scope.Skip, Key: f.Scope.Key, Prefix: f.Scope.Prefix,
	}}
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

// pageOf returns the rows after a key, encoded, until there is no more room.
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
	state *machine.State
	guard func(procedure string, err *error) // see consistency.Checker.Guard
}

// read returns the feed of a request.
func (m *watchable) read(q proto.Message) (feed, error) {
	f, err := m.Declared.Feed(q, m.state)
	out := encoded(f)
	out.request = q
	return out, err
}

// decode returns the feed of an encoded request.
func (m *watchable) decode(body []byte) (f feed, err error) {
	defer m.guard(m.Procedure, &err)
	q, err := m.Watch.Decode(body)
	if err != nil {
		return feed{}, err
	}
	return m.read(q)
}

// encode returns the encoded message of an event.
func (m *watchable) encode(e *state.Event) (b []byte, err error) {
	defer m.guard(m.Procedure, &err)
	if _, lost := e.Value.(state.Lost); lost {
		compacted := interrex.Errorf(interrex.ErrCompacted, "watch: the details of revision %d are no longer known: list again, or watch since then", e.Revision)
		compacted.FirstRevision = e.Revision
		return nil, compacted
	}
	made, err := m.Declared.Event(e, m.state)
	if err != nil {
		return nil, err
	}
	return proto.Marshal(made)
}

// responses sends the messages of one watch that has its own call.
type responses struct {
	empty    func() proto.Message
	transmit func(proto.Message) error
	json     bool
}

// begin sends the headers.
func (r responses) begin() error { return r.transmit(nil) }

// send sends events that are already encoded. In the binary encoding their bytes
// are copied into the message: protobuf writes unknown fields unchanged.
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
