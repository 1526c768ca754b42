package api

import (
	"strings"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/lease"
	"github.com/interrex/interrex/state"
	"github.com/interrex/interrex/wire"
)

// watch reads a request for lease events.
func (l Leases) watch(m *interrexv1.WatchRequest, s *state.State) (Feed[*interrexv1.LeaseEvent], error) {
	r, err := watchRequest(m)
	if err != nil {
		return Feed[*interrexv1.LeaseEvent]{}, err
	}
	return Feed[*interrexv1.LeaseEvent]{
		Since: r.Since,
		Match: matcher(r),
		Snapshot: &Snapshot[*interrexv1.LeaseEvent]{
			Rows:    func(after string, most int) Rows[*interrexv1.LeaseEvent] { return l.rows(r, s, after, most) },
			Compare: compareKeys,
			End: func(at interrex.Revision) *interrexv1.LeaseEvent {
				return wire.LeaseEvent(interrex.LeaseEvent{Kind: interrex.EndOfSnapshot, Revision: at})
			},
		},
	}, nil
}

func watchRequest(m *interrexv1.WatchRequest) (interrex.WatchRequest, error) {
	var in wire.Reader
	r := interrex.WatchRequest{Namespace: m.GetNamespace(), Prefix: m.GetPrefix(), Since: interrex.Revision(m.GetSince())}
	if m.GetKey() != "" {
		r.Key = in.Key(m.GetKey())
	}
	in.Fail(r.Validate())
	return r, in.Err
}

// matcher reports whether a watch covers an event.
func matcher(r interrex.WatchRequest) func(*state.Event) bool {
	if r.Key == (interrex.Key{}) {
		return func(e *state.Event) bool { return matchesLease(r, e) }
	}
	key := r.Key.String()
	return func(e *state.Event) bool { return e.Table == state.LeaseTable && e.Key == key }
}

func matchesLease(r interrex.WatchRequest, e *state.Event) bool {
	if e.Table != state.LeaseTable {
		return false
	}
	if r.Namespace == "" && r.Prefix == "" {
		return true
	}
	namespace, name, _ := strings.Cut(e.Key, "/")
	return (r.Namespace == "" || namespace == r.Namespace) && strings.HasPrefix(name, r.Prefix)
}

// rows reads leases under the table's lock, and makes their events without it.
func (l Leases) rows(r interrex.WatchRequest, s *state.State, after string, most int) (out Rows[*interrexv1.LeaseEvent]) {
	from, _ := interrex.ParseKey(after) // the empty one is no key: from the start
	var items []lease.Record
	out.Revision = l.still(s, func(v lease.ReadView) {
		if r.Key == (interrex.Key{}) {
			items, out.More = v.List(r.Namespace, r.Prefix, from, most)
		} else if item, held := v.Get(r.Key); held {
			items = append(items, item)
		}
	})
	out.All = func(yield func(string, *interrexv1.LeaseEvent) bool) {
		for _, item := range items {
			if !yield(item.Key.String(), wire.LeaseEvent(interrex.LeaseEvent{Kind: interrex.LeasePresent, Lease: l.present(item, s), Revision: out.Revision})) {
				return
			}
		}
	}
	return out
}

// event makes the message of an event of the table of leases, with what this
// agent knows about the lease now.
func (l Leases) event(e *state.Event, s *state.State) (*interrexv1.LeaseEvent, error) {
	out := interrex.LeaseEvent{Kind: e.Kind, Revision: e.Revision, Time: e.Wall}
	if r, is := e.Value.(lease.Record); is {
		out.Lease = l.present(r, s)
	}
	return wire.LeaseEvent(out), nil
}

// compareKeys orders keys as the table does.
func compareKeys(a, b string) int {
	x, _ := interrex.ParseKey(a)
	y, _ := interrex.ParseKey(b)
	return x.Compare(y)
}
