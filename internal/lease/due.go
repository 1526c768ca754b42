package lease

import (
	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
)

// scheduleID is the schedule that a row is in: at most one.
type scheduleID uint8

const (
	unscheduled scheduleID = iota // neither it nor a pin of it ends by time
	byExpiry                      // Table.due
	byLapse                       // Table.lapsing
)

// schedule returns the schedule; nil for unscheduled.
func (t *Table) schedule(k scheduleID) *schedule {
	switch k {
	case byExpiry:
		return &t.due
	case byLapse:
		return &t.lapsing
	}
	return nil
}

// placement returns the schedule that a row belongs in, and its time there.
func placement(l *row) (scheduleID, state.Time) {
	if len(l.pins) == 0 {
		return byExpiry, l.expiry
	}
	if first, ok := l.firstLapse(); ok {
		return byLapse, first.Until
	}
	return unscheduled, 0
}

// reschedule moves a row whose expiry or pins have changed.
func (t *Table) reschedule(l *row) {
	k, at := placement(l)
	if k != unscheduled && k == l.schedule {
		t.schedule(k).move(int(l.place), at)
		return
	}
	t.unschedule(l)
	if k != unscheduled {
		l.schedule = k
		t.schedule(k).push(at, l)
	}
}

func (t *Table) unschedule(l *row) {
	if s := t.schedule(l.schedule); s != nil {
		s.remove(int(l.place))
	}
	l.schedule = unscheduled
}

// Due returns the earliest time at which a lease or a pin expires; false if none
// does.
func (t *Table) Due() (state.Time, bool) {
	expiry, some := t.due.top()
	lapse, pinned := t.lapsing.top()
	if pinned && (!some || lapse.at < expiry.at) {
		return lapse.at, true
	}
	return expiry.at, some
}

// Tick first removes the pins that have expired, in the order of that time, key
// and owner; then it ends the leases that are due, in the order of expiry and
// key. Each ending has its own revision. An overdue lease that loses its last pin
// in the first step ends in the second.
func (t *Table) Tick(turn *state.Turn, limit int) int {
	t.history.forget(turn.Now)
	n := 0
	for ; n < limit; n++ {
		first, ok := t.lapsing.top()
		if !ok || first.at > turn.Now {
			break
		}
		turn.Next()
		pin, _ := first.l.firstLapse()
		t.unpin(turn, first.l, pin.Owner)
	}
	for ; n < limit; n++ {
		first, ok := t.due.top()
		if !ok || first.at > turn.Now {
			break
		}
		turn.Next()
		t.end(turn, first.l, interrex.EndExpired)
	}
	return n
}
