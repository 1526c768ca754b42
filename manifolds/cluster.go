package manifolds

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/hashicorp/raft"
	"github.com/juju/clock"
	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"

	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/lease"
	"github.com/interrex/interrex/leaseapplier"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/raftworker"
	"github.com/interrex/interrex/raftworker/leadership"
	"github.com/interrex/interrex/reads"
	"github.com/interrex/interrex/state"
	"github.com/interrex/interrex/transport"
)

func (s *Set) transport() dependency.Manifold {
	return dependency.Manifold{
		Inputs: s.names(ClockName, ClusterConfigName, IdentityName, StateName),
		Start:  s.startTransport,
		Output: owned(giveOutput),
	}
}

func (s *Set) startTransport(ctx dependency.Context) (worker.Worker, error) {
	now, err := get[clock.Clock](ctx, s.name(ClockName))
	if err != nil {
		return nil, err
	}
	section, err := get[config.Cluster](ctx, s.name(ClusterConfigName))
	if err != nil {
		return nil, err
	}
	dir, err := get[*dataDir](ctx, s.name(IdentityName))
	if err != nil {
		return nil, err
	}
	st, err := get[*state.State](ctx, s.name(StateName))
	if err != nil {
		return nil, err
	}
	table, err := get[*lease.Table](ctx, s.name(StateName))
	if err != nil {
		return nil, err
	}
	p := peers{
		set: s, dir: dir, state: st, expect: section.BootstrapExpect,
		tables: map[string]uint16{table.Name(): table.Version()},
	}
	c := transport.Config{
		ID: dir.ID, Hello: p.hello, Accept: p.accept, Clock: now, Logger: s.logger("transport"),
		Dialer: s.config.Agent.Dialer, TLS: s.config.Agent.certificates(section),
	}
	if c.TLS != nil {
		c.Listen, c.Advertise, c.Join = section.Listen, section.Advertise, section.Join
	}
	t, err := transport.New(c)
	if err != nil {
		return nil, err
	}
	s.Present.bound("cluster", t.ListenAddr())
	end := s.Present.set(func(p *parts) { p.transport = t }, func(p *parts) { p.transport = nil })
	w := &freed{Worker: t, free: func() {
		end()
		s.Present.bound("cluster", "")
	}}
	return own(give(w, t), patience, s.overstayed(TransportName)), nil
}

// certificates gives the agent's, from Go or from files; nil: it is alone.
func (c AgentConfig) certificates(section config.Cluster) transport.TLS {
	switch {
	case c.TLS != nil:
		return c.TLS
	case section.TLS.Present():
		return &transport.Files{CA: section.TLS.CA, Cert: section.TLS.Cert, Key: section.TLS.Key}
	}
	return nil
}

func (s *Set) raft() dependency.Manifold {
	return dependency.Manifold{
		Inputs: s.names(ClockName, RaftConfigName, IdentityName, StateName, QueueName, TransportName),
		Start: Gate(s.name(RaftName), dependency.Manifold{Start: s.startRaft},
			s.names(IdentityName, StateName, QueueName, TransportName)...).Start,
		Output: func(in worker.Worker, out any) error { return raftOutput(in.(*visitor).Worker, out) },
	}
}

// raftLife is one life of raft and what it was made with.
type raftLife struct {
	*raftworker.Worker
	acks    reads.Acks
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
	section := raftOf(current)
	dir, err := get[*dataDir](ctx, s.name(IdentityName))
	if err != nil {
		return nil, err
	}
	t, err := get[*transport.Transport](ctx, s.name(TransportName))
	if err != nil {
		return nil, err
	}
	table, err := get[*lease.Table](ctx, s.name(StateName))
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
	m := raftworker.Manifold(raftworker.ManifoldConfig{
		ClockName: s.name(ClockName), TransportName: s.name(TransportName),
		StateName: s.name(StateName), QueueName: s.name(QueueName),
		NewWorker: raftworker.NewWorkerShim, Logger: s.logger("raft"), PrometheusRegisterer: s.Registry,
		Raft: raftworker.Config{
			StorageDir: filepath.Join(dir.path, raftworker.RaftDir), LocalID: raft.ServerID(dir.ID),
			NonSyncedWritesToRaftLog: section.NonSyncedWritesToRaftLog || s.config.Agent.DataDir == "",
			Leadership:               s.Leadership, APIAddress: t.APIAddress,
			Bootstrap: p.bootstrap, Incarnations: p.incarnations,
			Timing: raftworker.Timing(section.Timing), ElectionTimeout: section.ElectionTimeout,
			HeartbeatTimeout: section.HeartbeatTimeout, LeaderLeaseTimeout: section.LeaderLeaseTimeout,
			SnapshotInterval: section.SnapshotInterval, SnapshotThreshold: section.SnapshotThreshold,
			SnapshotRetention: section.SnapshotRetention, NoLeaderTimeout: section.NoLeaderTimeout,
			NewApplier: func(r *raft.Raft, q *queue.Queue) (raftworker.LeaseApplier, error) {
				a, err := leaseapplier.NewApplier(leaseapplier.Config{
					Raft: r, Queue: q, State: st, Leases: table, Clock: now, Logger: s.logger("applier"),
					Metrics: s.metrics.applier, Address: t.APIAddress,
				})
				life.applier = a
				return a, err
			},
		},
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
	life.end = s.Present.set(
		func(p *parts) { p.raft, p.applier, p.acks = life.Worker, life.applier, life.acks },
		func(p *parts) { p.raft, p.applier, p.acks = nil, nil, nil })
	life.ended = make(chan struct{})
	life.following.Go(func() { s.followReloads(life, changed) })
	return life, nil
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
		section := raftOf(c)
		err := life.Reload(raftworker.Config{
			Timing: raftworker.Timing(section.Timing), ElectionTimeout: section.ElectionTimeout,
			HeartbeatTimeout: section.HeartbeatTimeout,
			SnapshotInterval: section.SnapshotInterval, SnapshotThreshold: section.SnapshotThreshold,
		})
		if err != nil {
			s.logger("raft").Warningf("the running raft keeps its settings: %v", err)
		}
	}
}

// acksOf gives what the transport of a life of raft has noted of answers.
func acksOf(w *raftworker.Worker) (reads.Acks, error) {
	t, err := w.Transport()
	if err != nil {
		return nil, err
	}
	return t.(reads.Acks), nil
}

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

// peers decides how this agent describes itself to others, and whom it lets
// in.
type peers struct {
	set    *Set
	dir    *dataDir
	state  *state.State
	expect int
	tables map[string]uint16 // versions by name
}

// known is the cluster that this agent belongs to: what the log says, or,
// until the log has been read, what the disk remembers.
func (p peers) known() (clusterID string, epoch state.Epoch, incarnations map[string]string) {
	id := p.state.Identity()
	if id.ClusterID == "" {
		return p.dir.ClusterID, p.dir.Epoch, nil
	}
	return id.ClusterID, id.Epoch, id.Incarnations
}

func (p peers) hello() transport.Hello {
	clusterID, epoch, _ := p.known()
	return transport.Hello{
		ClusterID: clusterID, Epoch: transport.Epoch(epoch), Incarnation: p.dir.Incarnation,
		APIAddress: p.set.advertisedAPI(), Expect: p.expect, Version: p.set.config.Agent.Version,
		Tables: p.tables,
	}
}

// accept refuses whoever does not belong to this agent's cluster, in words.
func (p peers) accept(peer transport.Hello) error {
	clusterID, epoch, incarnations := p.known()
	if err := p.sameTables(peer.Tables); err != nil {
		return err
	}
	if clusterID == "" {
		return nil // it decides whether this agent fits
	}
	if peer.ClusterID == "" {
		return member(peer, incarnations)
	}
	if peer.ClusterID != clusterID {
		return fmt.Errorf("agent %s belongs to the cluster %s, this one to %s: an agent's data directory belongs to one cluster for good", peer.ID, peer.ClusterID, clusterID)
	}
	if state.Epoch(peer.Epoch) != epoch {
		return fmt.Errorf("agent %s is in epoch %d of the cluster, this one in %d: the cluster was recovered, and one of them was not part of it", peer.ID, peer.Epoch.Number, epoch.Number)
	}
	if is := incarnations[peer.ID]; is != "" && is != peer.Incarnation {
		return wiped(peer)
	}
	return nil
}

// member lets in an agent that has not read the cluster's first entry yet, if
// its disk is the one that was there when the cluster was made.
func member(peer transport.Hello, incarnations map[string]string) error {
	switch is := incarnations[peer.ID]; is {
	case peer.Incarnation:
		return nil
	case "":
		return fmt.Errorf("agent %s is no member of this cluster", peer.ID)
	}
	return wiped(peer)
}

func wiped(peer transport.Hello) error {
	return fmt.Errorf("agent %s comes with another disk than the member of that name: its data directory was wiped or copied, and may have forgotten a vote", peer.ID)
}

// sameTables demands the same tables, in versions at most one apart.
func (p peers) sameTables(theirs map[string]uint16) error {
	for name, version := range p.tables {
		their, found := theirs[name]
		if !found || their+1 < version || their > version+1 {
			return fmt.Errorf("its tables are %v, this agent's are %v: both need the same ones, in versions at most one apart", theirs, p.tables)
		}
	}
	for name := range theirs {
		if _, found := p.tables[name]; !found {
			return fmt.Errorf("it has a table %q, this agent has none: both need the same ones", name)
		}
	}
	return nil
}

// bootstrap decides the first members of a new cluster.
func (p peers) bootstrap() ([]string, bool, error) {
	current, _ := p.set.Configuration.Current()
	if p.dir.ClusterID != "" {
		return nil, false, nil // it has been in a cluster
	}
	if current.Cluster.BootstrapExpect < 2 {
		return []string{p.dir.ID}, true, nil
	}
	t := p.set.Present.now().transport
	if t == nil {
		return nil, false, nil
	}
	return transport.Decide(t.Self(), t.Peers(), current.Cluster.BootstrapExpect)
}

func (p peers) incarnations() map[string]string {
	all := map[string]string{p.dir.ID: p.dir.Incarnation}
	if t := p.set.Present.now().transport; t != nil {
		for _, peer := range t.Peers() {
			all[peer.ID] = peer.Incarnation
		}
	}
	return all
}
