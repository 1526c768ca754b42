package lease

import (
	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
)

// grant fills in what the turn decides.
func (t *Table) grant(turn *state.Turn, l *row) {
	l.token = interrex.Token(turn.Revision)
	l.acquired = wallNanos(turn.Wall)
	l.expiry = turn.Now.Add(l.ttl)
	l.freezing = t.freezing
}

// succeed grants l in the place of old. Pins stay, and no time that was
// promised is taken back.
func (t *Table) succeed(turn *state.Turn, old, l *row, how interrex.Ending) {
	t.grant(turn, l)
	l.pins = old.pins
	l.expiry = max(l.expiry, old.expiry)
	t.history.add(turn, old, how)
	t.replace(old, l)
}

// end removes the lease, remembers it, and publishes how it ended.
func (t *Table) end(turn *state.Turn, l *row, how interrex.Ending) {
	t.remove(l)
	t.history.add(turn, l, how)
	kind := interrex.LeaseExpired
	switch how {
	case interrex.EndReleased:
		kind = interrex.LeaseReleased
	case interrex.EndForced:
		kind = interrex.LeaseForced
	}
	emit(turn, kind, l.record())
}

// emit publishes the record. An ended lease's is as it was last; a grant's is
// the new one.
func emit(turn *state.Turn, kind string, r Record) {
	turn.Emit(kind, r.Key.String(), r, r.size())
}
