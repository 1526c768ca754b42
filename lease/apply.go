package lease

import (
	"slices"
	"strings"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
)

// Apply does what Check has allowed and gives a *Reply. Where the operation
// also ends a lease (a claim one that is due, an unpin one that is overdue),
// that is a change of its own, and the turn stands at the last one afterwards.
func (t *Table) Apply(turn *state.Turn, c state.Command) state.Reply {
	t.history.forget(turn.Now)
	switch c := c.(type) {
	case *Claim:
		return t.applyClaim(turn, c)
	case *Extend:
		return t.applyExtend(turn, c)
	case *Revoke:
		return t.applyRevoke(turn, c)
	case *Transfer:
		return t.applyTransfer(turn, c)
	case *Pin:
		return t.applyPin(turn, c)
	default:
		return t.applyUnpin(turn, c.(*Unpin))
	}
}

func (t *Table) applyClaim(turn *state.Turn, c *Claim) *Reply {
	old, there := t.rows.Get(join(c.Key))
	if there && old.isDue(turn.Now) {
		t.end(turn, old, interrex.EndExpired)
		turn.Next()
		there = false
	}
	l := newRow(c.Key, c.Holder)
	l.metadata = Metadata{strings.Clone(c.Metadata.pairs)}
	l.ttl = c.TTL
	if !there {
		t.grant(turn, l)
		t.insert(l)
		return t.granted(turn, interrex.LeaseClaimed, l)
	}
	t.succeed(turn, old, l, interrex.EndTakenOver)
	return t.granted(turn, interrex.LeaseTakenOver, l)
}

func (t *Table) applyExtend(turn *state.Turn, c *Extend) *Reply {
	l, _ := t.rows.Get(join(c.Key))
	l = t.writable(l)
	l.expiry = max(l.expiry, turn.Now.Add(ttlOr(c.TTL, l.ttl)))
	t.reschedule(l)
	return &Reply{Lease: l.record()}
}

func (t *Table) applyRevoke(turn *state.Turn, c *Revoke) *Reply {
	l, _ := t.rows.Get(join(c.Key))
	reply := &Reply{Lease: l.record(), Ended: true}
	how := interrex.EndReleased
	if c.Force {
		how = interrex.EndForced
		reply.HolderUntil = l.expiry
	}
	t.end(turn, l, how)
	return reply
}

func (t *Table) applyTransfer(turn *state.Turn, c *Transfer) *Reply {
	old, _ := t.rows.Get(join(c.Key))
	l := newRow(c.Key, c.To)
	l.metadata = old.metadata
	l.ttl = ttlOr(c.TTL, old.ttl)
	t.succeed(turn, old, l, interrex.EndTransferred)
	reply := &Reply{Lease: l.record()}
	emit(turn, interrex.LeaseTransferred, reply.Lease)
	return reply
}

func (t *Table) applyPin(turn *state.Turn, c *Pin) *Reply {
	l, _ := t.rows.Get(join(c.Key))
	pin := PinRecord{Owner: strings.Clone(c.Owner), Reason: strings.Clone(c.Reason)}
	if c.For > 0 {
		pin.Until = turn.Now.Add(c.For)
	}
	l = t.writable(l)
	i, renewed := l.pinOf(c.Owner)
	l.pins = slices.Clone(l.pins)
	if renewed {
		l.pins[i] = pin
	} else {
		l.pins = slices.Insert(l.pins, i, pin)
	}
	t.reschedule(l)
	reply := &Reply{Lease: l.record()}
	emit(turn, interrex.LeasePinned, reply.Lease)
	return reply
}

func (t *Table) applyUnpin(turn *state.Turn, c *Unpin) *Reply {
	l, _ := t.rows.Get(join(c.Key))
	l = t.unpin(turn, l, c.Owner)
	reply := &Reply{Lease: l.record(), Ended: l.isDue(turn.Now)}
	if reply.Ended {
		turn.Next()
		t.end(turn, l, interrex.EndExpired)
	}
	return reply
}

// unpin lifts the pin of an owner who has one, and gives the row as it is then.
func (t *Table) unpin(turn *state.Turn, l *row, owner string) *row {
	l = t.writable(l)
	i, _ := l.pinOf(owner)
	l.pins = slices.Concat(l.pins[:i], l.pins[i+1:]) // nil after the last one
	t.reschedule(l)
	emit(turn, interrex.LeaseUnpinned, l.record())
	return l
}

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

// granted answers and publishes a claim.
func (t *Table) granted(turn *state.Turn, kind string, l *row) *Reply {
	reply := &Reply{Lease: l.record(), Granted: true}
	emit(turn, kind, reply.Lease)
	return reply
}

// end takes the lease out, remembers it, and publishes how it ended.
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

func ttlOr(asked, own time.Duration) time.Duration {
	if asked == 0 {
		return own
	}
	return asked
}
