package lease

import (
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/interrex/interrex"
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

// AsOf finds out who held leases at an earlier revision: of a key to which nothing has
// happened since, whoever holds it now; of another, what its first event since tells.
type AsOf struct {
	scope Scope
	at    interrex.Revision
	first map[string]*state.Event // of each key that has changed since, by join
	last  map[string]*state.Event
}

// NewAsOf returns an AsOf that knows of no change yet.
func NewAsOf(at interrex.Revision, s Scope) *AsOf {
	return &AsOf{scope: s, at: at, first: map[string]*state.Event{}, last: map[string]*state.Event{}}
}

// Changed records events after the revision, in their order.
func (a *AsOf) Changed(events iter.Seq[*state.Event]) {
	for e := range events {
		if e.Table != state.LeaseTable {
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

// Then is who held a lease at a revision. Its Record has only Key, Holder, Token,
// Acquired and Metadata.
type Then struct {
	Record
	taken *state.Event // by which another holder followed: there may be a better Record
}

// List returns up to limit leases, in the order of their keys, and whether there are more.
// They are to be completed.
func (a *AsOf) List(v ReadView, limit int) (items []*Then, more bool) {
	changed := slices.Sorted(maps.Keys(a.first))
	until := func(key string) bool { // adds those that have changed, up to a key that has not
		for len(changed) > 0 && (key == "" || changed[0] < key) && len(items) <= limit {
			if then := v.before(a.first[changed[0]]); then != nil {
				items = append(items, then)
			}
			changed = changed[1:]
		}
		return len(items) <= limit
	}
	v.each(a.scope, func(l *row) bool {
		more := until(l.key)
		if more && a.first[l.key] == nil && interrex.Revision(l.token) <= a.at {
			items = append(items, held(l.record()))
		}
		return more
	})
	until("")
	if more = len(items) > limit; more {
		items = items[:limit]
	}
	return items, more
}

// Difference is a key that another lease holds, or none, after some changes than before
// them.
type Difference struct {
	Key           interrex.Key
	Before, After *Then // nil: nobody held it
}

// Differences returns up to limit keys, in their order, on which the revision and the end
// of the recorded changes differ, and whether there are more. They are to be completed.
func (a *AsOf) Differences(v ReadView, limit int) (items []Difference, more bool) {
	for _, key := range slices.Sorted(maps.Keys(a.first)) {
		d := Difference{Key: split(key), Before: v.before(a.first[key]), After: after(a.last[key])}
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

// after returns who held a key after an event of it; nil: nobody did.
func after(e *state.Event) *Then {
	r, is := e.Value.(Record)
	switch e.Kind {
	case interrex.LeaseReleased, interrex.LeaseForced, interrex.LeaseExpired:
		return nil
	}
	if !is {
		return nil
	}
	return held(r)
}

// same reports whether both are the same lease, or none.
func same(a, b *Then) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.taken == nil && a.Token == b.Token
}

// held returns what is told of a lease that was held.
func held(r Record) *Then {
	return &Then{Record: Record{Key: r.Key, Holder: r.Holder, Token: r.Token, Acquired: r.Acquired, Metadata: r.Metadata}}
}

// before returns who held a key before an event of it; nil: nobody did.
func (v ReadView) before(e *state.Event) *Then {
	r, is := e.Value.(Record)
	switch {
	case !is || e.Kind == interrex.LeaseClaimed:
		return nil
	case e.Kind == interrex.LeaseTransferred || e.Kind == interrex.LeaseTakenOver:
		return v.former(e, r)
	}
	return held(r)
}

// former returns who held a lease before another holder followed. A transfer keeps the
// metadata; the history has none.
func (v ReadView) former(e *state.Event, next Record) *Then {
	then := &Then{Record: Record{Key: next.Key}, taken: e}
	if e.Kind == interrex.LeaseTransferred {
		then.Metadata = next.Metadata
	}
	for _, p := range slices.Backward(v.History(next.Key)) {
		if p.Token < next.Token {
			then.Holder, then.Token, then.Acquired = p.Holder, p.Token, p.AcquiredAt
			break
		}
	}
	return then
}

// Complete completes leases from the events up to the revision, the newest first. The
// error is ErrCompacted if it is not known any more who held one of them.
func Complete(items []*Then, earlier iter.Seq[*state.Event]) error {
	missing := map[string]*Then{}
	for _, t := range items {
		if t.taken != nil {
			missing[t.taken.Key] = t
		}
	}
	if len(missing) > 0 {
		for e := range earlier {
			r, is := e.Value.(Record)
			if t := missing[e.Key]; is && t != nil {
				t.Record = held(r).Record
				delete(missing, e.Key)
			}
			if len(missing) == 0 {
				break
			}
		}
	}
	for _, t := range missing {
		if t.Token == 0 {
			err := interrex.Errorf(interrex.ErrCompacted, "it is not known any more who held %s before revision %d: ask for that or a later one", t.taken.Key, t.taken.Revision)
			err.FirstRevision = t.taken.Revision
			return err
		}
	}
	return nil
}
