package api

import (
	"strings"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/resource"
	"github.com/interrex/interrex/state"
	"github.com/interrex/interrex/wire"
)

// watch reads a request for resource events.
func (r Resources) watch(m *interrexv1.ResourceServiceWatchRequest, s *state.State) (Feed[*interrexv1.ResourceEvent], error) {
	what := selection(m.GetType(), m.GetTenancy(), m.GetNamePrefix())
	if err := what.Validate(); err != nil {
		return Feed[*interrexv1.ResourceEvent]{}, err
	}
	return Feed[*interrexv1.ResourceEvent]{
		Since: interrex.Revision(m.GetSince()),
		Match: func(e *state.Event) bool {
			row, is := e.Value.(*resource.Record)
			return is && what.Matches(row.ID)
		},
		Snapshot: &Snapshot[*interrexv1.ResourceEvent]{
			Rows:    func(after string, most int) Rows[*interrexv1.ResourceEvent] { return r.rows(what, s, after, most) },
			Compare: compareResources,
			End: func(at interrex.Revision) *interrexv1.ResourceEvent {
				return wire.ResourceEvent(interrex.ResourceEvent{Operation: interrex.EndOfSnapshot, Revision: at})
			},
		},
	}, nil
}

// compareResources orders the keys of resources' events as lists do.
func compareResources(a, b string) int { return strings.Compare(resource.Key(a), resource.Key(b)) }

// rows reads resources under the table's lock, and makes their events without it.
func (r Resources) rows(what interrex.ResourceSelection, s *state.State, after string, most int) (out Rows[*interrexv1.ResourceEvent]) {
	if after != "" {
		after = resource.Key(after)
	}
	var items []*resource.Record
	out.Revision = r.still(s, func(v resource.ReadView) { items, out.More = v.List(what, after, most) })
	out.All = func(yield func(string, *interrexv1.ResourceEvent) bool) {
		for _, row := range items {
			e := interrex.ResourceEvent{Operation: interrex.ResourceUpsert, Resource: row.Resource(), Revision: out.Revision}
			if !yield(row.ID.String(), wire.ResourceEvent(e)) {
				return
			}
		}
	}
	return out
}

// event makes the message of an event of the table of resources.
func (r Resources) event(e *state.Event, _ *state.State) (*interrexv1.ResourceEvent, error) {
	out := interrex.ResourceEvent{Operation: interrex.ResourceUpsert, Revision: e.Revision, Time: e.Wall}
	if e.Kind == interrex.ResourceDeleted {
		out.Operation = interrex.ResourceDelete
	}
	if row, is := e.Value.(*resource.Record); is {
		out.Resource = row.Resource()
	}
	return wire.ResourceEvent(out), nil
}
