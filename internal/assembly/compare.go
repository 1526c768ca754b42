package assembly

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"github.com/juju/clock"
	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"

	"github.com/interrex/interrex/internal/compare"
	"github.com/interrex/interrex/internal/logs"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/membership"
	"github.com/interrex/interrex/internal/peering"
	"github.com/interrex/interrex/internal/unit"
	"github.com/interrex/interrex/queue"
)

// startCompare compares this agent's state with those of the other members.
func (s *Set) startCompare(u *unit.Unit) (worker.Worker, error) {
	life, t := unit.Need[*raftLife](u, RaftName), unit.Need[*peering.Transport](u, TransportName)
	st, waiting := unit.Need[*machine.State](u, StateName), unit.Need[*queue.Queue](u, QueueName)
	now := unit.Need[clock.Clock](u, ClockName)
	if u.Err != nil {
		return nil, u.Err
	}
	r, err := life.Raft()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, dependency.ErrMissing)
	}
	return compare.NewWorker(compare.Config{
		ID: t.ID(), Board: s.comparisons, Raft: r, Revision: st.Revision,
		Clock: now, Logger: logs.NewRepeats(now, s.logger("compare")), Metrics: s.metrics.comparisons,
		Schedule: s.comparisonSchedule,
		Leads: func(members []raft.Server) bool {
			return s.Leadership.Current().Ready && allCompare(members, t.ID(), t.Peer)
		},
		Propose: func(ctx context.Context) error {
			_, err := waiting.Propose(ctx, machine.SystemTable, &machine.Compare{})
			return err
		},
		Exchange: func(ctx context.Context, peer string, mine compare.Report) (compare.Report, error) {
			return compare.Exchange(ctx, t.DialAPI, peer, mine)
		},
		Condemn: func(why error) { s.condemn(life, why) },
	})
}

// allCompare reports whether every member is known to be able to apply a Compare.
func allCompare(members []raft.Server, self string, peer func(id string) (peering.Hello, bool)) bool {
	return membership.EntryVersion(members, self, peer) >= byte(new(machine.Compare).About().Since)
}

// comparisonSchedule returns how often this agent, where it leads, has states compared.
func (s *Set) comparisonSchedule() (on bool, every time.Duration, revisions uint64) {
	c := s.section().Compare
	return c.Enabled.On(), c.Every, c.Revisions
}

// condemn ends the use of this agent's state. First raft takes part no more in what needs
// the state, then nobody reads it, and then the state ends, with all that visits it: a
// leader hands over. The next one is filled by the leader.
func (s *Set) condemn(life *raftLife, why error) {
	kept, err := life.Condemn(why.Error())
	s.comparisons.Condemn(why, kept)
	if err != nil {
		s.logger("compare").Errorf("%v: %v: its state is read from its own files again", why, err)
		return
	}
	s.logger("compare").Errorf("%v: its state is filled anew; its log and snapshots are kept in %s", why, kept)
}

// endedBy makes f end when done is closed, too.
func endedBy(done <-chan struct{}, f func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		ctx, end := context.WithCancel(ctx)
		var waiting sync.WaitGroup
		waiting.Go(func() {
			select {
			case <-done:
				end()
			case <-ctx.Done():
			}
		})
		defer waiting.Wait()
		defer end()
		return f(ctx)
	}
}
