package assembly

import (
	"fmt"

	"github.com/juju/clock"
	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"

	"github.com/interrex/interrex/internal/datadir"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/reads"
	"github.com/interrex/interrex/internal/unit"
	"github.com/interrex/interrex/raftworker/leadership"
)

func (s *Set) leader() unit.Node {
	m := leadership.Manifold(leadership.ManifoldConfig{RaftName: s.Name(RaftName), Tracker: s.Leadership})
	return unit.Node{
		Inputs: []string{RaftName},
		Start: func(u *unit.Unit) (worker.Worker, error) {
			u.GiveBy(m.Output)
			return m.Start(u.Context)
		},
		Filter: m.Filter,
	}
}

func (s *Set) startReads(u *unit.Unit) (worker.Worker, error) {
	now, st := unit.Need[clock.Clock](u, ClockName), unit.Need[*machine.State](u, StateName)
	id, life := unit.Need[datadir.Identity](u, identityName), unit.Need[*raftLife](u, RaftName)
	slot := unit.Need[unit.Offerer[*reads.Rounds]](u, readsSlotName)
	if u.Err != nil {
		return nil, u.Err
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
	slot.Offer(u, rounds)
	return rounds, nil
}
