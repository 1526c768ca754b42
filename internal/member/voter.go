package member

import (
	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/codec"
	"github.com/interrex/interrex/state"
)

// SetVoter says whether a member may be given a vote.
type SetVoter struct {
	ID    string
	Voter bool
}

// About is part of state.Command.
func (c *SetVoter) About() state.About {
	return state.About{Name: "set_voter", Spare: true, Privileged: true}
}

// Validate reports which field is not allowed.
func (c *SetVoter) Validate() error { return validateID("id", c.ID) }

// Append encodes the command.
func (c *SetVoter) Append(b []byte) []byte {
	return codec.AppendBool(codec.AppendText(append(b, opSetVoter), c.ID), c.Voter)
}

func (c *SetVoter) decode(d *decoder) { *c = SetVoter{ID: d.Text(), Voter: d.Bool()} }

func (c *SetVoter) check(now *content, _ state.Time) *interrex.Error {
	switch known := now.member(c.ID); {
	case known == nil:
		return notFound(c.ID)
	case known.Forwards:
		return interrex.Errorf(interrex.ErrConflict, "agent %s runs without raft, and has no vote: to make it a member, give it an empty directory, and join it without --forward", c.ID)
	}
	return nil
}

func (c *SetVoter) apply(t *Table, turn *state.Turn) *Reply {
	next := *t.Member(c.ID)
	next.NonVoter, next.Revision = !c.Voter, turn.Revision
	t.change(func(now *content) { now.put(&next) })
	emit(turn, interrex.MemberChanged, &next)
	return &Reply{Member: &next}
}
