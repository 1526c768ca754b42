package lease

import (
	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
)

// keeper says which schedule keeps a row: at most one does.
type keeper uint8

const (
	unkept   keeper = iota // no time ends anything of it
	byExpiry               // Table.due
	byLapse                // Table.lapsing
)

// schedule returns the schedule of a keeper; nil for unkept.
func (t *Table) schedule(k keeper) *schedule {
	switch k {
	case byExpiry:
		return &t.due
	case byLapse:
		return &t.lapsing
	}
	return nil
}

// placement says where a row belongs and at what time.
func placement(l *row) (keeper, state.Time) {
	if len(l.pins) == 0 {
		return byExpiry, l.expiry
	}
	if first, ok := l.firstLapse(); ok {
		return byLapse, first.Until
	}
	return unkept, 0
}

// reschedule follows a change of the row's expiry or pins.
func (t *Table) reschedule(l *row) {
	k, at := placement(l)
	if k != unkept && k == l.kept {
		t.schedule(k).move(int(l.place), at)
		return
	}
	t.unschedule(l)
	if k != unkept {
		l.kept = k
		t.schedule(k).push(at, l)
	}
}

func (t *Table) unschedule(l *row) {
	if s := t.schedule(l.kept); s != nil {
		s.remove(int(l.place))
	}
	l.kept = unkept
}

// Due is the earliest time at which a lease expires or a pin lifts itself;
// false: as things stand, time ends nothing.
func (t *Table) Due() (state.Time, bool) {
	expiry, some := t.due.top()
	lapse, pinned := t.lapsing.top()
	if pinned && (!some || lapse.at < expiry.at) {
		return lapse.at, true
	}
	return expiry.at, some
}

// Tick first lifts the pins whose time is over, in the order of that time, key
// and owner; then it ends what is due, in the order of expiry and key. Each is
// one ending with a revision of its own. A lifted pin frees its lease for the
// second step, so the last pin of an overdue lease takes it along.
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
