package counters

import (
	"context"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/api"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/examples/counters/gen/countersv1"
	"github.com/interrex/interrex/state"
)

// CounterPresent is the kind of the events that a watch since 0 starts with, one
// per counter. One of the kind interrex.EndOfSnapshot follows them.
const CounterPresent = "counter.present"

// watch reads a request for events.
func (t *table) watch(m *countersv1.WatchRequest, s state.State) (api.Feed[*countersv1.CounterEvent], error) {
	return api.Feed[*countersv1.CounterEvent]{
		Since: interrex.Revision(m.GetSince()),
		Match: func(e *state.Event) bool { return e.Table == ID && strings.HasPrefix(e.Key, m.GetPrefix()) },
		Scope: api.Scope{Table: ID, Prefix: m.GetPrefix()},
		Snapshot: &api.Snapshot[*countersv1.CounterEvent]{
			Rows: func(after string, most int) api.Rows[*countersv1.CounterEvent] {
				return t.rows(m.GetPrefix(), after, most, s)
			},
			End: func(at interrex.Revision) *countersv1.CounterEvent {
				return &countersv1.CounterEvent{Kind: interrex.EndOfSnapshot, Revision: uint64(at)}
			},
		},
	}, nil
}

// rows are the first counters after a key whose keys begin with a prefix.
func (t *table) rows(prefix, after string, most int, s state.State) (out api.Rows[*countersv1.CounterEvent]) {
	page, more, at := t.list(prefix, after, most, s)
	out.More, out.Revision = more, at
	out.All = func(yield func(string, *countersv1.CounterEvent) bool) {
		for _, r := range page {
			if !yield(r.Key.String(), &countersv1.CounterEvent{Kind: CounterPresent, Counter: present(r, s), Revision: uint64(at)}) {
				return
			}
		}
	}
	return out
}

// event makes the message of an event, for all watchers.
func event(e *state.Event, s state.State) (*countersv1.CounterEvent, error) {
	return &countersv1.CounterEvent{Kind: e.Kind, Counter: present(e.Value.(Record), s), Revision: uint64(e.Revision)}, nil
}

// Event is what happened to a counter.
type Event struct {
	Kind     string  // such as CounterSet
	Counter  Counter // after the change; an expired counter's last value
	Revision interrex.Revision
}

// Watch yields the events of counters whose keys begin with a prefix, after a
// revision; since 0, the current counters first. It resumes by itself: see
// client.Watch. Close it after use.
func (c Client) Watch(ctx context.Context, prefix string, since interrex.Revision) (*client.Watch[Event], error) {
	return client.NewWatch(ctx, c.By, client.WatchConfig[Event, *countersv1.CounterEvent]{
		Procedure: countersv1.CounterServiceWatchProcedure,
		Since:     since,
		Request: func(since interrex.Revision) proto.Message {
			return &countersv1.WatchRequest{Prefix: prefix, Since: uint64(since)}
		},
		Decode: func(m *countersv1.CounterEvent) (Event, client.Position, error) {
			e := Event{Kind: m.GetKind(), Revision: interrex.Revision(m.GetRevision())}
			if e.Kind == interrex.EndOfSnapshot {
				return e, client.Position{Revision: e.Revision}, nil
			}
			var err error
			e.Counter, err = counterOf(m.GetCounter())
			return e, client.Position{Revision: e.Revision, Present: e.Kind == CounterPresent}, err
		},
	})
}
