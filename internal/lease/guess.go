package lease

import (
	"cmp"
	"container/heap"
	"slices"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
)

// The leader uses these to predict what the entry that it builds would free. Other
// commands may precede it: these are guesses, and only Apply decides.

// freeing is a command that may leave its name free.
type freeing interface {
	// frees reports whether it would if it were applied at now, after others.
	frees(t *Table, before []state.Command, now state.Time) bool
}

// Wants reports whether c is a claim. The caller of a claim retries it every
// quarter of the ttl.
func (t *Table) Wants(c state.Command) (every time.Duration, wants bool) {
	if claim, is := c.(*Claim); is {
		return claim.TTL / 4, true
	}
	return 0, false
}

// Passes reports whether c is a takeover by the holder.
func (t *Table) Passes(c state.Command) bool {
	claim, is := c.(*Claim)
	if !is || !claim.Takeover {
		return false
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	l, ok := t.rows.Get(join(claim.Key))
	return ok && claim.takesOver(l)
}

// Frees reports whether c would leave its name free if it were applied at now,
// after others: a revoke, and an unpin that ends an overdue lease.
func (t *Table) Frees(before []state.Command, c state.Command, now state.Time) bool {
	f, may := c.(freeing)
	if !may {
		return false
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	return f.frees(t, before, now)
}

// Free reports whether a claim of k at now would find the name free: there is
// no lease, or it is due. If not, until is its expiry; 0 while it is pinned. In
// the pause after a recovery no name is free.
func (t *Table) Free(k interrex.Key, now state.Time) (free bool, until state.Time) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	l, ok := t.rows.Get(join(k))
	switch {
	case now < t.paused:
		return false, t.paused
	case !ok || l.isDue(now):
		return true, 0
	case len(l.pins) > 0:
		return false, 0
	}
	return false, l.expiry
}

// Taken returns the refusal of a claim of k, whose text ends with why.
// Remaining is absent for a pinned lease.
func (t *Table) Taken(k interrex.Key, now state.Time, why string) *interrex.Error {
	held, found := t.Get(k)
	if !found {
		return interrex.Errorf(interrex.ErrHeld, "cannot claim %s: %s", k, why)
	}
	e := interrex.Errorf(interrex.ErrHeld, "cannot claim %s: %q holds it, and %s", k, held.Holder, why)
	e.Holder, e.HeldSince = held.Holder, held.Acquired
	if !held.Pinned() {
		e.Remaining = max(0, held.Expiry.Sub(now))
	}
	return e
}

// Ends returns the keys that a Tick of the same now and limit would free, in
// its order. It is exact unless more pins than limit expire at once; then it may
// leave some out.
func (t *Table) Ends(now state.Time, limit int) []interrex.Key {
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

// freedByLapse returns, by expiry, the overdue leases whose last pin expires by
// now, and the number of pins that expire. It examines at most limit leases.
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

// until returns the first slots up to now, in order, at most limit. It visits only
// those and their children.
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

// frontier is a heap of the places whose parents have been returned.
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
