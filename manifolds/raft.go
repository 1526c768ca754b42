package manifolds

import (
	"errors"
	"path/filepath"
	"sync"

	"github.com/hashicorp/raft"
	"github.com/juju/clock"
	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"

	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/leaseapplier"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/raftworker"
	"github.com/interrex/interrex/reads"
	"github.com/interrex/interrex/state"
	"github.com/interrex/interrex/transport"
)

// raft is owned: whoever releases a lease while everything stops still needs
// it.
func (s *Set) raft() dependency.Manifold {
	return Gate(s.name(RaftName), dependency.Manifold{
		Inputs: s.names(ClockName, RaftConfigName, IdentityName, StateName, QueueName, TransportName),
		Start:  s.startRaft,
		Output: owned(raftOutput),
	}, s.names(IdentityName, StateName, QueueName, TransportName)...)
}

// raftLife is one life of raft and what it was made with.
type raftLife struct {
	*raftworker.Worker
	acks    acks
	applier *leaseapplier.Applier
	end     func()

	waited    sync.Once
	ended     chan struct{}
	following sync.WaitGroup
}

// Wait returns after raft has ended and is no more present.
func (l *raftLife) Wait() error {
	err := l.Worker.Wait()
	l.waited.Do(func() {
		close(l.ended)
		l.following.Wait()
		l.end()
	})
	return err
}

func raftOutput(in worker.Worker, out any) error {
	l := in.(*raftLife)
	if p, ok := out.(**raft.Raft); ok {
		var err error
		*p, err = l.Raft()
		return err
	}
	return outputs(out, l, l.Worker, l.acks, l.applier)
}

func (s *Set) startRaft(ctx dependency.Context) (worker.Worker, error) {
	if err := ctx.Get(s.name(RaftConfigName), nil); err != nil {
		return nil, err
	}
	current, changed := s.Configuration.Current()
	dir, err := get[*dataDir](ctx, s.name(IdentityName))
	if err != nil {
		return nil, err
	}
	t, err := get[*transport.Transport](ctx, s.name(TransportName))
	if err != nil {
		return nil, err
	}
	st, err := get[*state.State](ctx, s.name(StateName))
	if err != nil {
		return nil, err
	}
	now, err := get[clock.Clock](ctx, s.name(ClockName))
	if err != nil {
		return nil, err
	}
	life := &raftLife{}
	p := peers{set: s, dir: dir, state: st}
	template := raftConfig(raftOf(current))
	if template.NonSyncedWritesToRaftLog {
		s.logger("raft").Warningf("raft.non-synced-writes-to-raft-log is on: a crash of this machine may lose leases that were granted")
	}
	template.StorageDir, template.LocalID = filepath.Join(dir.path, raftworker.RaftDir), raft.ServerID(dir.ID)
	template.NonSyncedWritesToRaftLog = template.NonSyncedWritesToRaftLog || s.config.Agent.DataDir == ""
	template.Earlier = &s.raftDir
	template.Leadership, template.APIAddress = s.Leadership, t.APIAddress
	template.Bootstrap, template.Incarnations = p.bootstrap, p.incarnations
	template.Leaving, template.Reluctant = s.leaving, s.reluctant
	template.FitMember = func(id string) bool { return mayLead(id, t.Peer) }
	template.FitnessChanged = t.Announce
	template.NewApplier = func(r *raft.Raft, q *queue.Queue) (raftworker.LeaseApplier, error) {
		a, err := leaseapplier.NewApplier(leaseapplier.Config{
			Raft: r, Queue: q, State: st, Clock: now, Logger: s.logger("applier"),
			Metrics: s.metrics.applier, Address: t.APIAddress,
			EntryVersion: func() byte {
				return entryVersion(r.GetConfiguration().Configuration().Servers, dir.ID, t.Peer)
			},
		})
		life.applier = a
		return a, err
	}
	m := raftworker.Manifold(raftworker.ManifoldConfig{
		ClockName: s.name(ClockName), TransportName: s.name(TransportName),
		StateName: s.name(StateName), QueueName: s.name(QueueName), Raft: template,
		NewWorker: raftworker.NewWorkerShim, Logger: s.raftLog, PrometheusRegisterer: s.registry,
	})
	w, err := m.Start(ctx)
	if err != nil {
		return nil, err
	}
	life.Worker = w.(*raftworker.Worker)
	if life.acks, err = acksOf(life.Worker); err != nil {
		w.Kill()
		return nil, errors.Join(err, w.Wait())
	}
	life.ended = make(chan struct{})
	life.following.Go(func() { s.followReloads(life, changed) })
	life.end = func() {
		s.Present.change(func(p *parts) { p.raft, p.vitals, p.applier, p.acks, p.raftDoor = nil, nil, nil, nil, nil })
	}
	o := own(life, patience, s.overstayed(RaftName))
	s.Present.change(func(p *parts) {
		p.raft, p.vitals, p.applier, p.acks, p.raftDoor = life.Worker, life.Worker, life.applier, life.acks, &o.gate
	})
	return o, nil
}

// raftConfig is what the configuration says of raft.
func raftConfig(section raftSection) raftworker.Config {
	return raftworker.Config{
		Timing: raftworker.Timing(section.Timing), ElectionTimeout: section.ElectionTimeout,
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

// followReloads gives a running raft what it takes up without a restart.
func (s *Set) followReloads(life *raftLife, changed <-chan struct{}) {
	for {
		select {
		case <-life.ended:
			return
		case <-changed:
		}
		var c config.Config
		c, changed = s.Configuration.Current()
		if err := life.Reload(raftConfig(raftOf(c))); err != nil {
			s.logger("raft").Warningf("the running raft keeps its settings: %v", err)
		}
	}
}

// acks is what the transport of a life of raft has noted of answers.
type acks interface {
	reads.Acks
	// MatchIndex returns how far a peer's log matches, as it has said in a term.
	MatchIndex(peer raft.ServerID, term uint64) uint64
	// Committed returns the commit index that the leader of a term has told.
	Committed(term uint64) uint64
}

// acksOf returns what the transport of a life of raft has noted of answers.
func acksOf(w *raftworker.Worker) (acks, error) {
	t, err := w.Transport()
	if err != nil {
		return nil, err
	}
	return t.(acks), nil
}
