package manifolds

import (
	"fmt"

	"github.com/juju/clock"
	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"

	"github.com/interrex/interrex/raftworker/leadership"
	"github.com/interrex/interrex/reads"
	"github.com/interrex/interrex/state"
)

func (s *Set) leader() dependency.Manifold {
	m := leadership.Manifold(leadership.ManifoldConfig{RaftName: s.name(RaftName), Tracker: s.Leadership})
	start, output := m.Start, m.Output
	m.Start = func(ctx dependency.Context) (worker.Worker, error) {
		w, err := start(ctx)
		if err != nil {
			return nil, err
		}
		return own(w, patience, s.overstayed(LeaderName)), nil
	}
	m.Output = owned(output)
	return m
}

func (s *Set) reads() dependency.Manifold {
	return Gate(s.name(ReadsName), dependency.Manifold{
		Inputs: s.names(ClockName, StateName, RaftName),
		Start: func(ctx dependency.Context) (worker.Worker, error) {
			now, err := get[clock.Clock](ctx, s.name(ClockName))
			if err != nil {
				return nil, err
			}
			st, err := get[*state.State](ctx, s.name(StateName))
			if err != nil {
				return nil, err
			}
			life, err := get[*raftLife](ctx, s.name(RaftName))
			if err != nil {
				return nil, err
			}
			r, err := life.Raft()
			if err != nil {
				return nil, fmt.Errorf("%w: %w", err, dependency.ErrMissing)
			}
			rounds, err := reads.New(reads.Config{
				ID: s.Present.ID(), Raft: r, Acks: life.acks, State: st, ReadyTerm: life.applier.ReadyTerm,
				Clock: now, Logger: s.logger("reads"),
			})
			if err != nil {
				return nil, err
			}
			end := s.Present.set(func(p *parts) { p.rounds = rounds }, func(p *parts) { p.rounds = nil })
			return &freed{Worker: rounds, free: end}, nil
		},
	}, s.name(RaftName))
}
