package lease

import (
	"cmp"
	"container/heap"
	"slices"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
)

// The leader asks here what the entry that it builds would free. Others may
// come first in Apply: these are guesses, and Apply alone decides.

// Free reports whether a claim of k at now would find the name free: there is
// no lease, or it is due.
func (t *Table) Free(k interrex.Key, now state.Time) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	l, ok := t.rows.Get(join(k))
	return !ok || l.isDue(now)
}

// WouldFree says which name the command would leave free if it were applied at
// now: a revoke, and an unpin that ends an overdue lease. False: none.
func (t *Table) WouldFree(c state.Command, now state.Time) (interrex.Key, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	switch c := c.(type) {
	case *Revoke:
		return c.Key, t.check(now, c) == nil
	case *Unpin:
		if t.check(now, c) != nil {
			return c.Key, false
		}
		l, _ := t.rows.Get(join(c.Key))
		return c.Key, len(l.pins) == 1 && now >= l.expiry
	}
	return interrex.Key{}, false
}

// DueKeys gives the keys that a Tick of the same now and limit would free, in
// its order. It is exact unless more pins than limit lift themselves at once;
// then it may leave some out.
func (t *Table) DueKeys(now state.Time, limit int) []interrex.Key {
	t.mu.RLock()
	defer t.mu.RUnlock()
	found, lifted := t.freedByLapse(now, limit)
	limit -= lifted
	if limit <= 0 {
		return nil
	}
	found = append(found, t.due.until(now, limit)...)
	slices.SortFunc(found, slot.compare)
	found = found[:min(limit, len(found))]
	keys := make([]interrex.Key, len(found))
	for i, s := range found {
		keys[i] = split(s.l.key)
	}
	return keys
}

// freedByLapse gives, by expiry, the overdue leases that lose their last pin by
// now, and counts the pins that lift themselves; it looks at limit leases.
func (t *Table) freedByLapse(now state.Time, limit int) (freed []slot, lifted int) {
	for _, s := range t.lapsing.until(now, limit) {
		stay := 0
		for _, p := range s.l.pins {
			if p.Until == 0 || p.Until > now {
				stay++
			}
		}
		lifted += len(s.l.pins) - stay
		if stay == 0 && now >= s.l.expiry {
			freed = append(freed, slot{s.l.expiry, s.l})
		}
	}
	return freed, lifted
}

func (a slot) compare(b slot) int {
	if c := cmp.Compare(a.at, b.at); c != 0 {
		return c
	}
	return cmp.Compare(a.l.key, b.l.key)
}

// until gives the first slots up to now, in order, at most limit. It looks only
// at those and their children.
func (s *schedule) until(now state.Time, limit int) []slot {
	var out []slot
	f := frontier{slots: s.slots}
	f.open(0, now)
	for len(f.places) > 0 && len(out) < limit {
		i := heap.Pop(&f).(int)
		out = append(out, s.slots[i])
		for c := i*children + 1; c <= i*children+children; c++ {
			f.open(c, now)
		}
	}
	return out
}

// frontier is a heap of places whose parents have been given already.
type frontier struct {
	slots  []slot
	places []int
}

func (f *frontier) open(i int, now state.Time) {
	if i < len(f.slots) && f.slots[i].at <= now {
		heap.Push(f, i)
	}
}

func (f *frontier) Len() int           { return len(f.places) }
func (f *frontier) Less(a, b int) bool { return f.slots[f.places[a]].before(f.slots[f.places[b]]) }
func (f *frontier) Swap(a, b int)      { f.places[a], f.places[b] = f.places[b], f.places[a] }
func (f *frontier) Push(x any)         { f.places = append(f.places, x.(int)) }
func (f *frontier) Pop() any {
	last := len(f.places) - 1
	i := f.places[last]
	f.places = f.places[:last]
	return i
}
