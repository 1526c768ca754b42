package assembly

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/hashicorp/raft"
	"github.com/juju/clock"
	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"

	"github.com/interrex/interrex/internal/authority"
	"github.com/interrex/interrex/internal/backoff"
	"github.com/interrex/interrex/internal/datadir"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/member"
	"github.com/interrex/interrex/internal/membership"
	"github.com/interrex/interrex/internal/peering"
	"github.com/interrex/interrex/internal/unit"
)

// removalPeriod is the time between two looks at what the agent's own log says.
const removalPeriod = time.Second

// startMembership runs while the agent was not removed from its cluster: raft's worker
// needs it.
func (s *Set) startMembership(u *unit.Unit) (worker.Worker, error) {
	now, dir := unit.Need[clock.Clock](u, ClockName), unit.Need[*datadir.Dir](u, identityName)
	rules := s.rules(dir, unit.Need[*machine.State](u, StateName), unit.Need[*member.Table](u, StateName))
	if u.Err != nil {
		return nil, u.Err
	}
	if dir.Removed {
		s.removal.Note(dir.ID, "it is noted in its directory")
	}
	if err := s.removal.Err(); err != nil {
		s.forgetCAKey(dir)
		s.logger("membership").Errorf("%v", err)
		return nil, fmt.Errorf("%w: %w", err, dependency.ErrMissing)
	}
	return unit.Run(func(ctx context.Context) error { return s.awaitRemoval(ctx, rules, dir, now) }), nil
}

// awaitRemoval returns the removal once the agent was removed and that is noted on its
// disk; nil when ctx ends first.
func (s *Set) awaitRemoval(ctx context.Context, rules membership.Rules, dir *datadir.Dir, now clock.Clock) error {
	for {
		if rules.Out() {
			s.removal.Note(dir.ID, "its own log says so")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-now.After(removalPeriod):
			continue
		case <-s.removal.Done():
		}
		s.forgetCAKey(dir)
		for dir.NoteRemoval() != nil && backoff.Pause(ctx, now.After(removalPeriod)) {
		}
		return s.removal.Err()
	}
}

// forgetCAKey deletes the key of the cluster's CA on an agent that was removed.
func (s *Set) forgetCAKey(dir *datadir.Dir) {
	switch err := authority.DeleteKey(dir.Path); {
	case err == nil:
		s.logger("ca").Infof("deleted the CA's key: this agent was removed from the cluster")
	case !errors.Is(err, fs.ErrNotExist):
		s.logger("ca").Errorf("%v: delete it by hand: this agent was removed from the cluster", err)
	}
}

// rules returns how this agent describes itself to others, and which it accepts.
func (s *Set) rules(dir *datadir.Dir, st *machine.State, members *member.Table) membership.Rules {
	if dir == nil || st == nil {
		return membership.Rules{} // an input is missing
	}
	return membership.Rules{Disk: dir.Present(), State: st, Members: members, Tables: st.Versions(), InRaft: s.inRaft}
}

// inRaft reports whether an agent is in raft's configuration; true while raft does not
// run here.
func (s *Set) inRaft(id string) bool {
	r := s.view().Running()
	if r == nil {
		return true
	}
	for _, server := range r.GetConfiguration().Configuration().Servers {
		if server.ID == raft.ServerID(id) {
			return true
		}
	}
	return false
}

// hearRemoval notes that a peer says that this agent was removed.
func (s *Set) hearRemoval(rules membership.Rules, peer peering.Hello) {
	if rules.Believes(peer) {
		s.removal.Note(rules.Disk.ID, "agent "+peer.ID+" says so")
	}
}
