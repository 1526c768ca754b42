package lease

import (
	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
)

// pinning is a command about the pin of one owner: those of several owners may
// stand in a group for one lease.
type pinning interface {
	// pinner is the owner.
	pinner() string
	// pins is by how many the command changes the pins of l.
	pins(l *row) int
}

// CheckGroup is Check of commands that are done together, in their order. A
// lease stands among them once, or with pins and unpins of different owners,
// which are counted together.
func (t *Table) CheckGroup(now state.Time, all []state.Command) error {
	tallies := make(map[interrex.Key]*tally, len(all))
	for _, c := range all {
		k := c.About().Key
		p, pins := c.(pinning)
		known := tallies[k]
		if known != nil && !(pins && known.mayBe(p.pinner())) {
			return interrex.Errorf(interrex.KindInvalid, "another operation of the group is about %s: a lease stands in a group once, but for pins and unpins of different owners", k)
		}
		err := t.Check(now, c)
		if pins && (err == nil || interrex.KindOf(err) == interrex.KindConflict) { // too many pins: the tally knows
			if known == nil {
				l, _ := t.rows.Get(join(k))
				known = &tally{l: l, pins: len(l.pins), owners: map[string]bool{}}
			}
			err = known.add(p, now)
		}
		if err != nil {
			return err
		}
		if known == nil {
			known = &tally{}
		}
		tallies[k] = known
	}
	return nil
}

// tally is what the commands of a group so far do to one lease.
type tally struct {
	l      *row // before the group
	pins   int
	owners map[string]bool // whose pins have been named; nil: it is no pin
}

// mayBe reports whether a pin of an owner may stand beside the commands so far.
func (s *tally) mayBe(owner string) bool { return s.owners != nil && !s.owners[owner] }

// add counts a pin or an unpin that is allowed on its own.
func (s *tally) add(p pinning, now state.Time) error {
	k := split(s.l.key)
	if len(s.owners) > 0 && s.pins == 0 && now >= s.l.expiry {
		return interrex.Errorf(interrex.KindNotFound, "%s is overdue, and an operation before this one lifts its last pin: it ends there", k)
	}
	s.owners[p.pinner()] = true
	if s.pins += p.pins(s.l); s.pins > MaxPins {
		return errPins(k, s.pins-1)
	}
	return nil
}
