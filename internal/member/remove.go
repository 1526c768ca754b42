package member

import (
	"slices"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/codec"
	"github.com/interrex/interrex/state"
)

// Remove removes a member. Its disk is remembered, so that the agent learns of it
// also when it was down.
type Remove struct {
	ID string
	// Force has the leader propose it also if the other voters would be no quorum. It
	// is not part of the log.
	Force bool
}

// About is part of state.Command.
func (c *Remove) About() state.About {
	return state.About{Name: "remove", Spare: true, Privileged: true}
}

// Validate reports which field is not allowed.
func (c *Remove) Validate() error { return validateID("id", c.ID) }

// Append encodes the command.
func (c *Remove) Append(b []byte) []byte { return codec.AppendText(append(b, opRemove), c.ID) }

func (c *Remove) decode(d *decoder) { *c = Remove{ID: d.Text()} }

func (c *Remove) check(now *content, _ state.Time) *interrex.Error {
	if now.member(c.ID) == nil {
		return notFound(c.ID)
	}
	return nil
}

func (c *Remove) apply(t *Table, turn *state.Turn) *Reply {
	return &Reply{Member: t.remove(turn, c.ID)}
}

// remove removes a member, and remembers its disk.
func (t *Table) remove(turn *state.Turn, id string) *Member {
	gone := t.Member(id)
	t.change(func(now *content) {
		i, _ := now.findMember(id)
		now.members = slices.Delete(slices.Clone(now.members), i, i+1)
		now.bury(gone, turn.Revision)
	})
	emit(turn, interrex.MemberRemoved, gone)
	return gone
}

// bury remembers the disk of a member that is removed, or has lost it.
func (c *content) bury(gone *Member, at interrex.Revision) {
	if gone.Incarnation == "" {
		return
	}
	first := max(0, len(c.removed)+1-maxTombstones)
	c.removed = append(slices.Clone(c.removed[first:]), Tombstone{gone.ID, gone.Incarnation, at})
}
