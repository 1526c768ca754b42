package assembly

import (
	"context"
	"fmt"

	"github.com/juju/clock"
	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"

	"github.com/interrex/interrex/internal/datadir"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/member"
	"github.com/interrex/interrex/internal/peering"
	"github.com/interrex/interrex/internal/rotation"
	"github.com/interrex/interrex/internal/unit"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/state"
)

// startRotation rotates the cluster's CA, where this agent leads.
func (s *Set) startRotation(u *unit.Unit) (worker.Worker, error) {
	life, t := unit.Need[*raftLife](u, RaftName), unit.Need[*peering.Transport](u, TransportName)
	dir, table := unit.Need[*datadir.Dir](u, identityName), unit.Need[*member.Table](u, StateName)
	waiting, now := unit.Need[*queue.Queue](u, QueueName), unit.Need[clock.Clock](u, ClockName)
	if u.Err != nil {
		return nil, u.Err
	}
	if _, err := life.Raft(); err != nil {
		return nil, fmt.Errorf("%w: %w", err, dependency.ErrMissing)
	}
	return rotation.NewWorker(rotation.Config{
		Table: table, Keep: s.keys(dir, table, t).Add, Clock: now, Logger: s.logger("ca"),
		Look: func() rotation.Cluster { return s.view().Authority() },
		Propose: func(ctx context.Context, c state.Command) error {
			_, err := waiting.Propose(ctx, machine.MemberTable, c)
			return err
		},
		HandOver: func(ctx context.Context, id string) error {
			_, err := s.handOver(ctx, id)
			return err
		},
	})
}
