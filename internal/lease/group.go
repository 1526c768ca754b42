package lease

import (
	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/capacity"
	"github.com/interrex/interrex/state"
)

// pinning is a command about the pin of one owner. A group may contain several of
// one lease if their owners differ.
type pinning interface {
	// pinner is the owner.
	pinner() string
	// pins returns by how many the command changes the number of pins of l.
	pins(l *row) int
}

// CheckGroup is Check of commands that are applied together, in their order. A
// lease may appear once, or with pins and unpins of different owners, which are
// counted together. So is what the limits of the table count.
func (t *Table) CheckGroup(now state.Time, all []state.Command) error {
	tallies := make(map[interrex.Key]*tally, len(all))
	changes := make([]capacity.Change, 0, len(all))
	for _, c := range all {
		k := c.About().Key
		p, pins := c.(pinning)
		known := tallies[k]
		if known != nil && !(pins && known.mayBe(p.pinner())) {
			return interrex.Errorf(interrex.ErrInvalid, "another operation of the group is about %s: a lease may appear in a group once, except for pins and unpins of different owners", k)
		}
		err := t.checkAlone(now, c)
		if pins && (err == nil || interrex.KindOf(err) == interrex.ErrConflict) { // too many pins: the tally knows
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
		changes = append(changes, t.change(c))
	}
	if refusal := t.used.Fits(changes, t.limits); refusal != nil {
		return refusal
	}
	return nil
}

// tally is the effect of the commands of a group so far on one lease.
type tally struct {
	l      *row // before the group
	pins   int
	owners map[string]bool // of the pins in the group; nil: the command is not a pinning
}

// mayBe reports whether the group may contain a pinning of an owner too.
func (s *tally) mayBe(owner string) bool { return s.owners != nil && !s.owners[owner] }

// add counts a pin or an unpin that is allowed by itself.
func (s *tally) add(p pinning, now state.Time) error {
	k := split(s.l.key)
	if len(s.owners) > 0 && s.pins == 0 && now >= s.l.expiry {
		return interrex.Errorf(interrex.ErrNotFound, "%s is overdue, and an operation before this one removes its last pin, which ends it", k)
	}
	s.owners[p.pinner()] = true
	if s.pins += p.pins(s.l); s.pins > MaxPins {
		return errPins(k, s.pins-1)
	}
	return nil
}
