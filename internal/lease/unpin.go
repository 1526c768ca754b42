package lease

import (
	"slices"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/capacity"
	"github.com/interrex/interrex/internal/codec"
	"github.com/interrex/interrex/internal/validation"
	"github.com/interrex/interrex/state"
)

// Unpin removes the pin of an owner.
type Unpin struct {
	Key   interrex.Key
	Owner string
}

// About is part of state.Command.
func (c *Unpin) About() state.About { return state.About{Name: "unpin", Key: c.Key} }

// Announce is part of state.Announcer.
func (c *Unpin) Announce() state.Announcement {
	return state.Announcement{Kinds: []string{interrex.LeaseUnpinned}, Key: c.Key.String()}
}

// Validate reports which field is not allowed. It does not check the key: see
// state.Command.
func (c *Unpin) Validate() error { return validation.Owner(c.Owner) }

// Append encodes the command.
func (c *Unpin) Append(b []byte) []byte {
	return codec.AppendText(codec.AppendKey(append(b, opUnpin), c.Key), c.Owner)
}

func (c *Unpin) decode(d codec.Decoder) codec.Decoder {
	*c = Unpin{Key: d.Key(), Owner: d.Text()}
	return d
}

func (c *Unpin) check(t *Table, _ state.Time) *interrex.Error {
	if refusal := t.checkThere("unpin", c.Key); refusal != nil {
		return refusal
	}
	l, _ := t.rows.Get(join(c.Key))
	if _, ok := l.pinOf(c.Owner); !ok {
		return interrex.Errorf(interrex.ErrNotFound, "cannot unpin %s: owner %q has no pin on it", c.Key, c.Owner)
	}
	return nil
}

// pinner is part of pinning.
func (c *Unpin) pinner() string { return c.Owner }

// pins is part of pinning.
func (c *Unpin) pins(*row) int { return -1 }

// frees is part of freeing: an overdue lease ends with its last pin.
func (c *Unpin) frees(t *Table, before []state.Command, now state.Time) bool {
	l, found := t.rows.Get(join(c.Key))
	if !found || now < l.expiry {
		return false
	}
	pinned := map[string]bool{}
	for _, p := range l.pins {
		pinned[p.Owner] = true
	}
	for _, one := range before {
		switch one := one.(type) {
		case *Pin:
			if one.Key == c.Key {
				pinned[one.Owner] = true
			}
		case *Unpin:
			if one.Key == c.Key {
				delete(pinned, one.Owner)
			}
		}
	}
	return len(pinned) == 1 && pinned[c.Owner]
}

// weigh is part of weighing.
func (c *Unpin) weigh(t *Table, sum *capacity.Load) { sum.Bytes -= t.pinned(c.Key, c.Owner) }

func (c *Unpin) apply(t *Table, turn *state.Turn) *Reply {
	l, _ := t.rows.Get(join(c.Key))
	l = t.unpin(turn, l, c.Owner)
	reply := &Reply{Lease: l.record(), Ended: l.isDue(turn.Now)}
	if reply.Ended {
		turn.Next()
		t.end(turn, l, interrex.EndExpired)
	}
	return reply
}

// unpin removes the pin of an owner that has one, and returns the changed row.
func (t *Table) unpin(turn *state.Turn, l *row, owner string) *row {
	l = t.writable(l)
	i, _ := l.pinOf(owner)
	t.used.Add(l.namespace(), capacity.Load{Bytes: -l.pins[i].weight()})
	l.pins = slices.Concat(l.pins[:i], l.pins[i+1:]) // nil after the last one
	t.reschedule(l)
	emit(turn, interrex.LeaseUnpinned, l.record())
	return l
}
