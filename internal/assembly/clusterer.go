package assembly

import (
	"context"
	"fmt"

	"github.com/hashicorp/raft"
	"github.com/juju/clock"
	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"

	"github.com/interrex/interrex/internal/datadir"
	"github.com/interrex/interrex/internal/health"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/member"
	"github.com/interrex/interrex/internal/peering"
	"github.com/interrex/interrex/internal/unit"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/raftworker/clusterer"
	"github.com/interrex/interrex/state"
)

// startClusterer brings raft's configuration in line with the table of members, where
// this agent leads.
func (s *Set) startClusterer(u *unit.Unit) (worker.Worker, error) {
	life, t := unit.Need[*raftLife](u, RaftName), unit.Need[*peering.Transport](u, TransportName)
	waiting, st := unit.Need[*queue.Queue](u, QueueName), unit.Need[*machine.State](u, StateName)
	c := clusterer.Config{
		Table: unit.Need[*member.Table](u, StateName), Clock: unit.Need[clock.Clock](u, ClockName), Logger: s.logger("clusterer"),
		Propose: func(ctx context.Context, c state.Command) error {
			_, err := waiting.Propose(ctx, machine.MemberTable, c)
			return err
		},
	}
	c.Prepare = s.keys(unit.Need[*datadir.Dir](u, identityName), c.Table, t).Hand
	if u.Err != nil {
		return nil, u.Err
	}
	r, err := life.Raft()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, dependency.ErrMissing)
	}
	c.ID, c.Raft = t.ID(), r
	c.Look = func() []clusterer.Sight { return look(s.view(), r, t) }
	c.Founders = func() map[string]string {
		if !s.recording.Load() {
			return nil
		}
		return st.Identity().Incarnations
	}
	return clusterer.NewWorker(c)
}

// look returns what this leader sees of the agents that it has met, and of itself.
func look(v health.View, r *raft.Raft, t *peering.Transport) []clusterer.Sight {
	self := sight(t.Self())
	self.Fit = true
	self.ClusterAddress = t.Address(self.ID)
	all := []clusterer.Sight{self}
	for _, peer := range t.Peers() {
		one := sight(peer)
		one.Silent = v.At.Sub(v.LastHeard(peer.ID, r))
		one.Match = v.Acks.MatchIndex(raft.ServerID(peer.ID), r.CurrentTerm())
		one.Fit = peer.Log.Unfit == ""
		all = append(all, one)
	}
	return all
}

func sight(h peering.Hello) clusterer.Sight {
	return clusterer.Sight{
		ID: h.ID, Incarnation: h.Incarnation, ClusterAddress: h.ClusterAddress, APIAddress: h.APIAddress,
		Version: h.Version, Tables: h.Tables,
		Certificate: member.Certificate{Serial: h.Certificate.Serial, Issuer: h.Certificate.Issuer, Ends: h.Certificate.Ends},
	}
}
