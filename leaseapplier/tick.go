package leaseapplier

import (
	"time"

	"github.com/interrex/interrex/state"
)

// The keep-alive of cluster time: while something can end by time, the newest
// stamp is no older than a tenth of the time to that, so that a change of leader
// lengthens a lease by at most a tenth.
const (
	stampShare  = 10
	minStampAge = time.Second
	maxStampAge = time.Minute
)

// tickTime says when the next tick is due, given the newest stamp and the
// earliest time at which something ends: at that time, or before it when the
// newest stamp gets too old.
//
// The keep-alive falls where the age of the stamp is a tenth of the rest:
// age = (due - (newest + age)) / 10, which is (due - newest) / 11.
func tickTime(newest, due state.Time) state.Time {
	age := due.Sub(newest) / (stampShare + 1)
	return min(due, newest.Add(min(max(age, minStampAge), maxStampAge)))
}

// tickDue returns the cluster time of the next tick; false: nothing can end by
// time, or an entry is in flight, which does what a tick does.
func (b *builder) tickDue() (state.Time, bool) {
	due, can := b.config.State.Due()
	if !can || len(b.flights) > 0 {
		return 0, false
	}
	return tickTime(b.config.State.Now(), due), true
}
