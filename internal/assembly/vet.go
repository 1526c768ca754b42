package assembly

import (
	"context"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/health"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/member"
	"github.com/interrex/interrex/internal/membership"
	"github.com/interrex/interrex/state"
)

// vet returns how this leader examines a command before it is proposed; nil: it does
// not. It knows what the state does not: which agents respond.
func (s *Set) vet(table state.TableID, c state.Command) func(context.Context) error {
	if since := c.About().Since; since > 0 {
		return func(context.Context) error { return s.applicable(table, since) }
	}
	switch c := c.(type) {
	case *member.Remove:
		return func(ctx context.Context) error {
			if err := s.recorded(ctx, c.ID); err != nil {
				return err
			}
			return s.mayGo(ctx, c.ID, c.Force)
		}
	case *member.Admit:
		return func(context.Context) error { return s.mayReplace(c) }
	case *member.SetVoter:
		return func(ctx context.Context) error { return s.recorded(ctx, c.ID) }
	}
	return nil
}

// respondTimeout is how long voters have to answer before one of them goes. A leader
// sends them something every tenth of a heartbeat timeout.
const respondTimeout = 2 * time.Second

// mayGo returns why a voter must not go. Whether the others are a quorum is asked anew: a
// voter that has just died is not silent for long enough yet to be called so.
func (s *Set) mayGo(ctx context.Context, id string, forced bool) error {
	if err := health.MayLeave(id, s.view().Members(), forced); err != nil || forced {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, respondTimeout)
	defer cancel()
	for since := s.config.Agent.Clock.Now(); ; {
		err := health.MayLeave(id, s.view().MembersSince(since), false)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-s.config.Agent.Clock.After(20 * time.Millisecond):
		}
	}
}

// recordTimeout bounds the wait until a founder is recorded.
const recordTimeout = 5 * time.Second

// recorded waits until a member is in the table: a founder need not be. Of one that is
// no member nothing is to be recorded.
func (s *Set) recorded(ctx context.Context, id string) error {
	table := running[*member.Table](s, StateName)
	ctx, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	for table != nil && table.Member(id) == nil && !table.WasRemoved(id) && s.inRaft(id) {
		s.recording.Store(true)
		select {
		case <-ctx.Done():
			return interrex.Errorf(interrex.ErrUnavailable, "the leader has not recorded %s, a founder of the cluster, yet: try again", id)
		case <-s.config.Agent.Clock.After(50 * time.Millisecond):
		}
	}
	return nil
}

// mayReplace returns why an agent must not take the place of the member of its ID: only
// one that responds no more may have lost its disk.
func (s *Set) mayReplace(c *member.Admit) error {
	table := running[*member.Table](s, StateName)
	if table == nil || !c.Replaces(table.Member(c.ID)) {
		return nil
	}
	for _, m := range s.view().Members() {
		if m.ID == c.ID && !m.Silent {
			return interrex.Errorf(interrex.ErrUnavailable, "member %s is running, with another data directory: if this agent is to take its place, stop that one; if not, give this agent another ID", c.ID)
		}
	}
	return nil
}

// applicable returns an error that names a member whose table is of an earlier version,
// or may be: it would stop at the command. From the first such command on the versions of
// all members are recorded, those of founders too.
func (s *Set) applicable(table state.TableID, since uint16) error {
	v := s.view()
	if v.Transport == nil {
		return nil
	}
	if table == machine.SystemTable {
		return s.knowsEntries(v, byte(since))
	}
	s.recording.Store(true)
	recorded := running[*member.Table](s, StateName)
	for _, m := range v.Members() {
		said, met := v.Transport.Peer(m.ID)
		tables := said.Tables
		if row := recorded.Member(m.ID); !met && row != nil {
			tables = row.Versions()
		}
		switch name, version := membership.TableOf(tables, table); {
		case m.ID == v.ID:
		case name == "":
			return interrex.Errorf(interrex.ErrUnavailable, "agent %s may be unable to apply this: its version is not recorded, and the leader has not met it since it started: start that agent, or remove it", m.ID)
		case version < since:
			return interrex.Errorf(interrex.ErrConflict, "agent %s cannot apply this yet: its table %s is of version %d, and this needs version %d: bring that agent up to date, or remove it", m.ID, name, version, since)
		}
	}
	return nil
}

// knowsEntries returns an error that names a member that does not know log entries of a
// version, which the state's own operations need. One that the leader has not met stops
// at the entry, and says why.
func (s *Set) knowsEntries(v health.View, since byte) error {
	for _, m := range v.Members() {
		if said, met := v.Transport.Peer(m.ID); met && m.ID != v.ID && said.Entries < since {
			return interrex.Errorf(interrex.ErrConflict, "agent %s cannot apply this yet: it reads log entries of version %d, and this needs version %d: bring that agent up to date, or remove it", m.ID, said.Entries, since)
		}
	}
	return nil
}
