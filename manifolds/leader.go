package manifolds

import (
	"fmt"

	"github.com/juju/clock"
	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"

	"github.com/interrex/interrex/internal/datadir"
	"github.com/interrex/interrex/internal/reads"
	"github.com/interrex/interrex/raftworker/leadership"
	"github.com/interrex/interrex/state"
)

func (s *Set) leader() node {
	m := leadership.Manifold(leadership.ManifoldConfig{RaftName: s.name(RaftName), Tracker: s.Leadership})
	return node{
		inputs: []string{RaftName},
		start: func(u *unit) (worker.Worker, error) {
			u.foreign = m.Output
			return m.Start(u.ctx)
		},
		filter: m.Filter,
	}
}

func (s *Set) startReads(u *unit) (worker.Worker, error) {
	now, st := need[clock.Clock](u, ClockName), need[*state.State](u, StateName)
	id, life := need[datadir.Identity](u, identityName), need[*raftLife](u, RaftName)
	slot := need[offerer[*reads.Rounds]](u, readsSlotName)
	if u.err != nil {
		return nil, u.err
	}
	r, err := life.Raft()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, dependency.ErrMissing)
	}
	rounds, err := reads.New(reads.Config{
		ID: id.ID, Raft: r, Acks: life.acks, State: st, ReadyTerm: life.applier.ReadyTerm,
		Clock: now, Logger: s.logger("reads"),
	})
	if err != nil {
		return nil, err
	}
	slot.offer(u, rounds)
	return rounds, nil
}
