package counters

import (
	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
)

func (r Record) isDue(now state.Time) bool { return r.Expiry != 0 && r.Expiry <= now }

// Due returns when the next counter ends.
func (t *table) Due() (state.Time, bool) {
	r, found := t.due.Min()
	return r.Expiry, found
}

// Tick ends the counters that are due, at most limit.
func (t *table) Tick(turn *state.Turn, limit int) int {
	for n := range limit {
		r, found := t.due.Min()
		if !found || !r.isDue(turn.Now) {
			return n
		}
		turn.Next()
		t.endIfDue(turn, r.Key)
	}
	return limit
}

// endIfDue ends a counter at the turn's revision, if it is due.
func (t *table) endIfDue(turn *state.Turn, k interrex.Key) bool {
	r, there := t.counters.Get(k.String())
	if !there || !r.isDue(turn.Now) {
		return false
	}
	t.remove(k)
	r.emit(turn, CounterExpired)
	return true
}
