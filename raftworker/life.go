package raftworker

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft-wal/fs"

	"github.com/interrex/interrex"
)

// life is what exists from bring-up to bring-down.
type life struct {
	raft      *raft.Raft
	transport Transport
	config    *raft.Config
	usual     atomic.Pointer[raft.ReloadableConfig] // what raft runs with, but for a hurry
	dir       *directory
	snapshots *countedSnapshots
	applier   LeaseApplier
	ended     chan error            // the applier's end, once
	observer  *raft.Observer        // pokes news
	news      chan raft.Observation // of capacity 1: something has changed
	metrics   *metrics
}

// bringUp opens the directory and starts raft and its applier on it. What it
// has opened when it fails is closed again.
func (w *Worker) bringUp(config *raft.Config) (*life, error) {
	usual := reloadable(config)
	l := &life{config: config, metrics: newMetrics(), ended: make(chan error, 1), news: make(chan raft.Observation, 1)}
	var err error
	l.usual.Store(&usual)
	l.dir, err = openDir(w.cfg.StorageDir, w.cfg.syncMode(), LogStoreConfig{
		Logger: w.cfg.Logger, Clock: w.cfg.Clock, WriteTimeout: w.cfg.WriteTimeout, Synced: l.metrics.synced,
	}, fs.New())
	if err != nil {
		return nil, err
	}
	if l.transport, err = w.cfg.Transport(w.progress); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot start raft: %w", err), l.dir.Close())
	}
	if err := w.startRaft(l); err != nil {
		return nil, errors.Join(err, l.transport.Close(), l.dir.Close())
	}
	if err := w.startApplier(l); err != nil {
		return nil, errors.Join(err, w.stopRaft(l))
	}
	l.metrics.register(w.cfg)
	return l, nil
}

// progress is what raft has applied, and its term.
func (w *Worker) progress() (applied, term uint64) {
	r := w.running.Load()
	if r == nil {
		return 0, 0
	}
	return r.AppliedIndex(), r.CurrentTerm()
}

func (w *Worker) startRaft(l *life) error {
	if err := w.cfg.checkAddress(l.transport); err != nil {
		return fmt.Errorf("cannot start raft: %w", err)
	}
	if err := w.openSnapshots(l); err != nil {
		return err
	}
	if err := w.bootstrapEmpty(l); err != nil {
		return err
	}
	var err error
	if l.raft, err = newRaft(l, w.cfg); err != nil {
		return err
	}
	w.running.Store(l.raft)
	l.observer = raft.NewObserver(l.news, false, nil)
	l.raft.RegisterObserver(l.observer)
	hurryIfAlone(l)
	return nil
}

func (w *Worker) openSnapshots(l *life) error {
	files, err := NewSnapshotStore(w.cfg.StorageDir, w.cfg.SnapshotRetention, w.cfg.Logger)
	if err != nil {
		return err
	}
	l.snapshots = &countedSnapshots{SnapshotStore: files, logger: w.cfg.Logger}
	newest, err := checkLog(l.dir, l.snapshots)
	if err != nil {
		return err
	}
	// A state that has outlived an earlier raft is never taken back.
	applied, _ := w.cfg.State.Applied()
	l.config.NoSnapshotRestoreOnStart = newest > 0 && applied >= newest
	return nil
}

// cachedEntries is how many of the newest entries raft finds in memory: it reads
// each one back, for every follower and for the state. All of them together
// are at most 64 MiB.
const cachedEntries = 32

// newRaft keeps a panic of raft's on reading its own log from ending the
// process.
func newRaft(l *life, cfg Config) (r *raft.Raft, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("cannot start raft: panic: %v", p)
		}
	}()
	newest, err := raft.NewLogCache(cachedEntries, l.dir)
	if err != nil {
		return nil, fmt.Errorf("cannot start raft: %w", err)
	}
	r, err = raft.NewRaft(l.config, cfg.State, newest, l.dir.stable, l.snapshots, l.transport)
	if err != nil {
		return nil, fmt.Errorf("cannot start raft: %w", err)
	}
	return r, nil
}

// checkLog finds a log that raft would panic on: every entry after the newest
// snapshot must be there. It gives that snapshot's index, 0 without one.
func checkLog(log raft.LogStore, snapshots raft.SnapshotStore) (newest uint64, err error) {
	list, err := snapshots.List()
	if err != nil {
		return 0, fmt.Errorf("cannot list snapshots: %w", err)
	}
	if len(list) > 0 {
		newest = list[0].Index
	}
	first, err := log.FirstIndex()
	if err != nil {
		return 0, fmt.Errorf("cannot read raft log: %w", err)
	}
	if first > newest+1 {
		return 0, fmt.Errorf("cannot start raft: the log begins at index %d and the newest snapshot is of %d: what is between is lost: bring back a copy of the directory from after the agent's last stop", first, newest)
	}
	return newest, nil
}

// hurryIfAlone lets the only voter of a cluster lead soon: there is nobody
// whose heartbeat it could be waiting for.
func hurryIfAlone(l *life) {
	if !alone(l.raft.GetConfiguration().Configuration(), l.config.LocalID) {
		return
	}
	quick := l.raft.ReloadableConfig()
	quick.HeartbeatTimeout = l.config.LeaderLeaseTimeout
	quick.ElectionTimeout = l.config.LeaderLeaseTimeout
	// An error leaves raft with the timeouts that it has.
	_ = l.raft.ReloadConfig(quick)
}

// calm gives raft its usual timeouts back once it leads.
func (l *life) calm() {
	if usual := *l.usual.Load(); l.raft.ReloadableConfig() != usual {
		_ = l.raft.ReloadConfig(usual)
	}
}

func alone(c raft.Configuration, id raft.ServerID) bool {
	voters, mine := 0, false
	for _, s := range c.Servers {
		if s.Suffrage == raft.Voter {
			voters++
			mine = mine || s.ID == id
		}
	}
	return voters == 1 && mine
}

// startApplier makes the applier and follows it. It is not the catacomb's
// child: a catacomb kills its children in the moment in which it begins to
// die, and a leader still has a last stamp to write then.
func (w *Worker) startApplier(l *life) error {
	applier, err := w.cfg.NewApplier(l.raft, w.cfg.Queue)
	if err != nil {
		return fmt.Errorf("cannot start applier: %w", err)
	}
	l.applier = applier
	go func() { l.ended <- applier.Wait() }()
	return nil
}

// leadership is what this agent knows of who leads.
func (w *Worker) leadership(l *life) interrex.Leadership {
	// The term is read before and after: a pair of one moment.
	for {
		term := l.raft.CurrentTerm()
		_, leader := l.raft.LeaderWithID()
		is := interrex.Leadership{
			Term: term, LeaderID: string(leader), LeaderAddress: w.cfg.APIAddress(string(leader)),
			Leader: l.raft.State() == raft.Leader,
		}
		is.Ready = is.Leader && l.applier.ReadyTerm() == term
		if l.raft.CurrentTerm() == term {
			return is
		}
	}
}
