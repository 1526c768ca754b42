package raftworker

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/raftlog"
	"github.com/interrex/interrex/raftdir"
)

// life is what exists from bring-up to bring-down.
type life struct {
	raft      *raft.Raft
	running   atomic.Pointer[raft.Raft] // the same, for its rules, which are asked before it runs
	rules     *rules
	transport Transport
	config    *raft.Config
	usual     atomic.Pointer[raft.ReloadableConfig] // what raft runs with, but for a hurry
	trailing  atomic.Uint64                         // most entries to be left behind a snapshot; 0: the usual
	dir       *raftdir.Directory
	snapshots raft.SnapshotStore
	applier   LeaseApplier
	ended     chan error            // the applier's end, once
	observer  *raft.Observer        // pokes news
	news      chan raft.Observation // of capacity 1: something has changed
	metrics   *metrics
	unfit     bool // as others should have heard it
	short     bool // as the log of this agent last said
}

// bringUp opens the directory and starts raft and its applier on it. What it
// has opened when it fails is closed again.
func (w *Worker) bringUp(config *raft.Config) (*life, error) {
	usual := reloadable(config)
	l := &life{config: config, metrics: newMetrics(), ended: make(chan error, 1), news: make(chan raft.Observation, 1)}
	l.usual.Store(&usual)
	var err error
	if l.dir, err = raftdir.Open(w.cfg.StorageDir, w.cfg.directory(l.metrics.synced)); err != nil {
		return nil, err
	}
	w.tellDamage(l.dir.Report())
	l.short = l.dir.Quarantined()
	l.rules = newRules(w.cfg, l.dir, &l.running)
	if l.transport, err = w.cfg.Transport(l.rules); err != nil {
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

func (w *Worker) startRaft(l *life) error {
	if err := w.cfg.checkAddress(l.transport); err != nil {
		return fmt.Errorf("cannot start raft: %w", err)
	}
	w.openSnapshots(l)
	if err := w.bootstrapEmpty(l); err != nil {
		return err
	}
	if err := w.onlyVoter(l); err != nil {
		return err
	}
	if err := w.overfull(l); err != nil {
		return err
	}
	var err error
	if l.raft, err = newRaft(l, w.cfg); err != nil {
		return err
	}
	l.running.Store(l.raft)
	l.observer = raft.NewObserver(l.news, false, nil)
	l.raft.RegisterObserver(l.observer)
	hurryIfAlone(l)
	return nil
}

func (w *Worker) openSnapshots(l *life) {
	l.snapshots = guardedSnapshots{l.dir.Snapshots(), l.rules}
	newest := l.dir.Report().Snapshot.Index
	// A state that has outlived an earlier raft is never taken back.
	applied, _ := w.cfg.State.Applied()
	l.config.NoSnapshotRestoreOnStart = newest > 0 && applied >= newest
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
	replica := &cutOff{ConfigurationStore: cfg.State, dir: l.dir}
	r, err = raft.NewRaft(l.config, replica, newest, l.dir.Stable(), l.snapshots, l.transport)
	if err != nil && replica.unrestored != nil {
		err = replica.unrestored // raft says only that there was an error
	}
	if err != nil {
		return nil, fmt.Errorf("cannot start raft: %w", err)
	}
	return r, nil
}

// tellDamage says in the log what the directory has found damaged.
func (w *Worker) tellDamage(r raftlog.Report) {
	for _, note := range r.Notes {
		w.cfg.Logger.Errorf("%s", note)
	}
}

// tellWhole says in the log when what was missing has come.
func (w *Worker) tellWhole(l *life) {
	short := l.dir.Quarantined()
	if l.short && !short {
		w.cfg.Logger.Infof("the log of this agent is whole again: it ends at %s", l.dir.End())
	}
	l.short = short
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

// wanted returns the settings that raft should run with.
func (l *life) wanted() raft.ReloadableConfig {
	c := *l.usual.Load()
	if most := l.trailing.Load(); most > 0 {
		c.TrailingLogs, c.SnapshotThreshold = min(c.TrailingLogs, most), min(c.SnapshotThreshold, most)
	}
	return c
}

// reload applies to raft the settings that it should run with, if they have changed.
func (l *life) reload() error {
	if wanted := l.wanted(); l.raft.ReloadableConfig() != wanted {
		return l.raft.ReloadConfig(wanted)
	}
	return nil
}

// calm restores raft's usual timeouts once it leads.
func (l *life) calm() {
	// An error leaves raft with the timeouts that it has.
	_ = l.reload()
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
