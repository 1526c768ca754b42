package lease

import (
	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
)

// grant fills in what the turn determines.
func (t *Table) grant(turn *state.Turn, l *row) {
	l.token = interrex.Token(turn.Revision)
	l.acquired = wallNanos(turn.Wall)
	l.expiry = turn.Now.Add(l.ttl)
	l.freezing = t.freezing
}

// succeed replaces old by the grant l. Pins stay, and the expiry does not move to
// an earlier time.
func (t *Table) succeed(turn *state.Turn, old, l *row, how interrex.Ending) {
	t.grant(turn, l)
	l.pins = old.pins
	l.expiry = max(l.expiry, old.expiry)
	t.history.add(turn, old, how)
	t.replace(old, l)
}

// end removes the lease, adds it to the history, and publishes how it ended.
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

// emit publishes the record: of an ended lease as it was last, of a grant the new
// one.
func emit(turn *state.Turn, kind string, r Record) {
	turn.Emit(kind, r.Key.String(), r, r.size())
}
