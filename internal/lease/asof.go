package lease

import (
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/state"
)

// Scope selects leases: those of a namespace (empty: all) whose names have a prefix, and
// whose keys follow After (zero: from the first).
type Scope struct {
	Namespace, Prefix string
	After             interrex.Key
}

// has reports whether the scope has the key, and returns that as join makes it.
func (s Scope) has(key string) (joined string, in bool) {
	k, err := interrex.ParseKey(key)
	if err != nil || s.Namespace != "" && k.Namespace != s.Namespace || !strings.HasPrefix(k.Name, s.Prefix) {
		return "", false
	}
	joined = join(k)
	return joined, s.After == (interrex.Key{}) || joined > join(s.After)
}

// AsOf finds out who held leases at an earlier revision. If nothing has happened to a key
// since, its holder is the present one; otherwise the first event since says who it was.
type AsOf struct {
	scope Scope
	at    interrex.Revision
	// The first and the last event since the revision, of each key that has any, by join.
	first, last map[string]*state.Event
}

// NewAsOf returns an AsOf without events.
func NewAsOf(at interrex.Revision, s Scope) *AsOf {
	return &AsOf{scope: s, at: at, first: map[string]*state.Event{}, last: map[string]*state.Event{}}
}

// Changed adds events, which follow the revision and those that were added before.
func (a *AsOf) Changed(events iter.Seq[*state.Event]) {
	for e := range events {
		if e.Table != machine.LeaseTable {
			continue
		}
		if key, in := a.scope.has(e.Key); in {
			if a.first[key] == nil {
				a.first[key] = e
			}
			a.last[key] = e
		}
	}
}

// Unchanged returns the first present leases, at most limit, to which nothing has happened
// since. All events until now must have been added.
func (a *AsOf) Unchanged(v ReadView, limit int) (items []Record) {
	v.each(a.scope, func(l *row) bool {
		if a.first[l.key] == nil {
			items = append(items, l.record())
		}
		return len(items) < limit
	})
	return items
}

// Then is who held a lease at a revision. Its Record has only Key, Holder, Token,
// Acquired and Metadata.
type Then struct {
	Record
	next *state.Event // with which another grant replaced it; nil once the Record is known
}

// List returns up to limit leases, in the order of their keys, and whether there are more.
// unchanged are limit+1 leases of Unchanged, or all. Complete completes the result.
func (a *AsOf) List(unchanged []Record, limit int) (items []*Then, more bool) {
	for _, r := range unchanged {
		items = append(items, held(r))
	}
	for _, e := range a.first {
		if then := before(e); then != nil {
			items = append(items, then)
		}
	}
	slices.SortFunc(items, func(a, b *Then) int { return a.Key.Compare(b.Key) })
	if more = len(items) > limit; more {
		items = items[:limit]
	}
	return items, more
}

// Difference is a key whose lease has changed.
type Difference struct {
	Key           interrex.Key
	Before, After *Then // nil: nobody held it
}

// Differences returns up to limit keys, in order, that had another lease, or none, before
// the events than after them, and whether there are more. Complete completes what was
// before.
func (a *AsOf) Differences(limit int) (items []Difference, more bool) {
	for _, key := range slices.Sorted(maps.Keys(a.first)) {
		d := Difference{Key: split(key), Before: before(a.first[key]), After: after(a.last[key])}
		if same(d.Before, d.After) {
			continue
		}
		if len(items) == limit {
			return items, true
		}
		items = append(items, d)
	}
	return items, false
}

// same reports whether both are the same lease, or none.
func same(a, b *Then) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.next == nil && a.Token == b.Token
}

// held returns what is reported of a lease that was held.
func held(r Record) *Then {
	return &Then{Record: Record{Key: r.Key, Holder: r.Holder, Token: r.Token, Acquired: r.Acquired, Metadata: r.Metadata}}
}

// before returns who held a key before an event; nil: nobody did.
func before(e *state.Event) *Then {
	r := e.Value.(Record)
	switch e.Kind {
	case interrex.LeaseClaimed:
		return nil
	case interrex.LeaseTransferred:
		return &Then{Record: Record{Key: r.Key, Metadata: r.Metadata}, next: e} // it keeps the metadata
	case interrex.LeaseTakenOver:
		return &Then{Record: Record{Key: r.Key}, next: e}
	}
	return held(r)
}

// after returns who held a key after an event; nil: nobody did.
func after(e *state.Event) *Then {
	switch e.Kind {
	case interrex.LeaseReleased, interrex.LeaseForced, interrex.LeaseExpired:
		return nil
	}
	return held(e.Value.(Record))
}

// Complete finds who held the leases that another grant has replaced: in the events up to
// the revision, newest first, and otherwise in the history of the key, which has no
// metadata. The error is ErrCompacted if neither has it.
func Complete(items []*Then, earlier iter.Seq[*state.Event], history func(interrex.Key) []interrex.PastLease) error {
	missing := map[string]*Then{}
	for _, t := range items {
		if t.next != nil {
			missing[t.next.Key] = t
		}
	}
	if len(missing) == 0 {
		return nil
	}
	for e := range earlier {
		if t := missing[e.Key]; t != nil && e.Table == machine.LeaseTable {
			*t = *held(e.Value.(Record))
			delete(missing, e.Key)
		}
		if len(missing) == 0 {
			return nil
		}
	}
	for _, t := range missing {
		if err := t.recall(history(t.Key)); err != nil {
			return err
		}
	}
	return nil
}

// recall completes a lease from the history of its key.
func (t *Then) recall(history []interrex.PastLease) error {
	token := t.next.Value.(Record).Token
	for _, p := range slices.Backward(history) {
		if p.Token < token {
			t.Holder, t.Token, t.Acquired = p.Holder, p.Token, p.AcquiredAt
			return nil
		}
	}
	err := interrex.Errorf(interrex.ErrCompacted, "who held %s before revision %d is no longer known: request that revision or a later one", t.Key, t.next.Revision)
	err.FirstRevision = t.next.Revision
	return err
}
