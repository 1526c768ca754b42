package assembly

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/hashicorp/raft"
	"github.com/juju/clock"
	"github.com/juju/worker/v3"

	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/gate"
	"github.com/interrex/interrex/internal/datadir"
	"github.com/interrex/interrex/internal/health"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/member"
	"github.com/interrex/interrex/internal/membership"
	"github.com/interrex/interrex/internal/peering"
	"github.com/interrex/interrex/internal/unit"
	"github.com/interrex/interrex/leaseapplier"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/raftworker"
	"github.com/interrex/interrex/state"
)

// raftLife is one life of raft with what it was made of.
type raftLife struct {
	*raftworker.Worker
	acks    health.Acks
	applier *leaseapplier.Applier
	door    gate.Entrance
}

// startRaft starts one life of raft. It is visited: a lease that is released while
// everything stops still needs raft.
func (s *Set) startRaft(u *unit.Unit) (worker.Worker, error) {
	dir, t := unit.Need[*datadir.Dir](u, identityName), unit.Need[*peering.Transport](u, TransportName)
	slot := unit.Need[unit.Offerer[*raftLife]](u, raftSlotName)
	u.NeedsRunning(raftConfigName)
	u.NeedsRunning(membershipName)
	if u.Err != nil {
		return nil, u.Err
	}
	current, changed := s.configuration.Current()
	life := &raftLife{}
	m := raftworker.Manifold(raftworker.ManifoldConfig{
		ClockName: s.Name(ClockName), TransportName: s.Name(TransportName),
		StateName: s.Name(StateName), QueueName: s.Name(QueueName), Raft: s.raftTemplate(current, u, dir, t, life),
		Logger: s.raftLog, PrometheusRegisterer: s.registry,
	})
	w, err := m.Start(u.Context)
	if err != nil {
		return nil, err
	}
	if err := life.take(w); err != nil {
		return nil, errors.Join(err, worker.Stop(w))
	}
	u.GiveBy(m.Output)
	u.Give(u.Entrance(), life, life.Worker, life.acks, life.applier)
	life.door = u.Entrance()
	u.Follow(changed, func() <-chan struct{} { return s.reloadRaft(life, pickRaft(current)) })
	slot.Offer(u, life)
	return life, nil
}

// take completes a life with its worker and with the acks of its transport.
func (l *raftLife) take(w worker.Worker) error {
	raft, is := w.(*raftworker.Worker)
	if !is {
		return fmt.Errorf("raft is run by a %T", w)
	}
	t, err := raft.Transport()
	if err != nil {
		return err
	}
	noted, is := t.(health.Acks)
	if !is {
		return fmt.Errorf("raft has a %T, which notes no answers", t)
	}
	l.Worker, l.acks = raft, noted
	return nil
}

// reloadRaft applies what a running raft can change, unless raft, made with another
// configuration, is restarted for the rest of it.
func (s *Set) reloadRaft(life *raftLife, with raftSection) (next <-chan struct{}) {
	c, next := s.configuration.Current()
	if pickRaft(c) != with {
		return next
	}
	if err := life.Reload(raftConfig(raftOf(c))); err != nil && !errors.Is(err, raftworker.ErrWorkerStopped) {
		s.logger("raft").Warningf("the running raft keeps its settings: %v", err)
	}
	return next
}

// raftTemplate returns the configuration of raft's worker.
func (s *Set) raftTemplate(current config.Config, u *unit.Unit, dir *datadir.Dir, t *peering.Transport, life *raftLife) raftworker.Config {
	st, now := unit.Need[*machine.State](u, StateName), unit.Need[clock.Clock](u, ClockName)
	c := raftConfig(raftOf(current))
	if c.NonSyncedWritesToRaftLog {
		s.logger("raft").Warningf("raft.non-synced-writes-to-raft-log is on: a crash of this machine may lose leases that were granted")
	}
	rules := membership.Rules{Disk: dir.Present(), State: st, Members: unit.Need[*member.Table](u, StateName)}
	c.StorageDir, c.LocalID = filepath.Join(dir.Path, datadir.RaftDir), raft.ServerID(dir.ID)
	c.NonSyncedWritesToRaftLog = c.NonSyncedWritesToRaftLog || s.config.Agent.DataDir == ""
	c.Earlier = &s.raftDir
	c.Leadership, c.APIAddress, c.Observe = s.Leadership, t.APIAddress, s.observe()
	c.Bootstrap = func() ([]string, bool, error) { return rules.Bootstrap(t, s.section().Cluster) }
	c.Incarnations = func() map[string]string { return rules.Incarnations(t) }
	c.Charter = func() []state.Operation { return s.charter(dir) }
	c.Leaving, c.Reluctant = s.leaving, s.health.Reluctant
	c.KnownDisk = func(id, incarnation, clusterID string, vote bool) error {
		return rules.KnownDisk(peering.Hello{ID: id, Incarnation: incarnation, ClusterID: clusterID}, vote)
	}
	c.FitMember = func(id string) bool { return membership.MayLead(id, t.Peer) }
	c.FitnessChanged = t.Announce
	c.NewApplier = func(r *raft.Raft, q *queue.Queue) (leaseapplier.LeaseApplier, error) {
		a, err := leaseapplier.NewApplier(leaseapplier.Config{
			Raft: r, Queue: q, State: st, Clock: now, Logger: s.logger("applier"),
			Metrics: s.metrics.applier, Address: t.APIAddress,
			EntryVersion: func() byte {
				return membership.EntryVersion(r.GetConfiguration().Configuration().Servers, dir.ID, t.Peer)
			},
		})
		life.applier = a
		return a, err
	}
	return c
}

// charter returns what the first entry of a cluster that this agent founds holds.
func (s *Set) charter(dir *datadir.Dir) []state.Operation {
	c, err := membership.ReadCharter(dir.Path)
	if err != nil {
		s.logger("raft").Errorf("%v: the cluster is founded without it", err)
	}
	return c.Operations()
}

// raftConfig returns raft's part of the configuration, for its worker.
func raftConfig(section raftSection) raftworker.Config {
	return raftworker.Config{
		Timing: section.Timing, ElectionTimeout: section.ElectionTimeout,
		HeartbeatTimeout: section.HeartbeatTimeout, LeaderLeaseTimeout: section.LeaderLeaseTimeout,
		SnapshotInterval: section.SnapshotInterval, SnapshotThreshold: section.SnapshotThreshold,
		SnapshotRetention: section.SnapshotRetention, NoLeaderTimeout: section.NoLeaderTimeout,
		NonSyncedWritesToRaftLog: section.NonSyncedWritesToRaftLog,
	}
}

// InForce returns the configuration with the timings that cluster.timing sets
// where the file leaves them at 0.
func InForce(c config.Config) config.Config {
	wanted := raftConfig(raftOf(c))
	wanted.LocalID = "any"
	r, err := raftworker.NewRaftConfig(wanted)
	if err != nil {
		return c // it is not valid
	}
	c.Raft.HeartbeatTimeout, c.Raft.ElectionTimeout, c.Raft.LeaderLeaseTimeout = r.HeartbeatTimeout, r.ElectionTimeout, r.LeaderLeaseTimeout
	return c
}
