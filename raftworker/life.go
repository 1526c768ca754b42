package raftworker

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/founding"
	"github.com/interrex/interrex/internal/raftdir"
	"github.com/interrex/interrex/internal/raftlog"
	"github.com/interrex/interrex/internal/raftrules"
	"github.com/interrex/interrex/leaseapplier"
)

// life is one run of raft: everything that exists from bringUp to bringDown.
type life struct {
	cfg       Config
	raft      *raft.Raft
	running   atomic.Pointer[raft.Raft] // the same, for its rules, which are called before it runs
	rules     *raftrules.Rules
	transport Transport
	config    *raft.Config
	usual     atomic.Pointer[raft.ReloadableConfig] // raft's settings, as configured
	hurried   atomic.Bool                           // it is the only voter, and does not lead yet
	trailing  atomic.Uint64                         // most entries to keep in the log behind a snapshot; 0: the default
	dir       *raftdir.Directory
	snapshots raft.SnapshotStore
	applier   leaseapplier.LeaseApplier
	ended     chan error // receives the applier's error, once
	observed  observed
	observer  *raft.Observer        // sends to news
	news      chan raft.Observation // of capacity 1: something has changed
	metrics   *metrics
	unfit     bool // what others were last informed of
	short     bool // whether the log was last reported incomplete
}

// bringUp opens the directory and starts raft and its applier. When it fails it
// closes what it has opened.
func (w *Worker) bringUp(config *raft.Config) (*life, error) {
	usual := reloadable(config)
	l := &life{cfg: w.cfg, config: config, metrics: newMetrics(), ended: make(chan error, 1), news: make(chan raft.Observation, 1)}
	l.usual.Store(&usual)
	l.observed.to = w.cfg.Observe
	var err error
	if l.dir, err = raftdir.Open(w.cfg.StorageDir, w.cfg.directory(l.metrics.synced)); err != nil {
		return nil, err
	}
	l.logDamage(l.dir.Report())
	l.short = l.dir.Quarantined()
	l.rules = raftrules.New(w.cfg.rules(), l.dir, &l.running)
	if l.transport, err = w.cfg.Transport(l.rules); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot start raft: %w", err), l.dir.Close())
	}
	if err := l.startRaft(); err != nil {
		return nil, errors.Join(err, l.transport.Close(), l.dir.Close())
	}
	if err := l.startApplier(); err != nil {
		return nil, errors.Join(err, l.stopRaft())
	}
	l.metrics.register(w.cfg)
	return l, nil
}

func (l *life) startRaft() error {
	if err := l.cfg.checkAddress(l.transport); err != nil {
		return fmt.Errorf("cannot start raft: %w", err)
	}
	l.openSnapshots()
	if err := l.bootstrapEmpty(); err != nil {
		return err
	}
	if err := l.onlyVoter(); err != nil {
		return err
	}
	if err := l.overfull(); err != nil {
		return err
	}
	var err error
	if l.raft, err = l.newRaft(); err != nil {
		return err
	}
	l.running.Store(l.raft)
	l.observer = raft.NewObserver(l.news, false, l.observed.saw)
	l.observed.begin(l.raft)
	l.raft.RegisterObserver(l.observer)
	l.quickenIfAlone()
	return nil
}

func (l *life) openSnapshots() {
	l.snapshots = l.rules.Snapshots(l.dir.Snapshots())
	newest := l.dir.Report().Snapshot.Index
	// A state that has outlived an earlier raft is never rolled back.
	applied, _ := l.cfg.State.Applied()
	l.config.NoSnapshotRestoreOnStart = newest > 0 && applied >= newest
}

// cachedEntries is how many of the newest entries are cached in memory, at most
// 64 MiB together: raft reads each entry back for every follower and for the
// state.
const cachedEntries = 32

// newRaft calls raft.NewRaft, and returns a panic in it as an error: raft panics
// on a log that it cannot read.
func (l *life) newRaft() (r *raft.Raft, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("cannot start raft: panic: %v", p)
		}
	}()
	newest, err := raft.NewLogCache(cachedEntries, l.dir)
	if err != nil {
		return nil, fmt.Errorf("cannot start raft: %w", err)
	}
	replica := raftrules.NewReplica(l.cfg.State, l.dir, l.observed.look)
	r, err = raft.NewRaft(l.config, replica, newest, l.dir.Stable(), l.snapshots, l.transport)
	if unrestored := replica.Unrestored(); err != nil && unrestored != nil {
		err = unrestored // raft's own error has no cause
	}
	if err != nil {
		return nil, fmt.Errorf("cannot start raft: %w", err)
	}
	return r, nil
}

// logDamage logs what the directory has found damaged.
func (l *life) logDamage(r raftlog.Report) {
	for _, note := range r.Notes {
		l.cfg.Logger.Errorf("%s", note)
	}
}

// logWhole logs when the missing entries have arrived.
func (l *life) logWhole() {
	short := l.dir.Quarantined()
	if l.short && !short {
		l.cfg.Logger.Infof("the log of this agent is whole again: it ends at %s", l.dir.End())
	}
	l.short = short
}

// quickenIfAlone shortens the timeouts of a cluster's only voter until it leads:
// it has no heartbeat to wait for.
func (l *life) quickenIfAlone() {
	if !founding.OnlyVoter(l.raft.GetConfiguration().Configuration(), l.config.LocalID) {
		return
	}
	l.hurried.Store(true)
	// An error leaves raft with the timeouts that it has.
	_ = l.reload()
}

// wanted returns the settings with which raft should run.
func (l *life) wanted() raft.ReloadableConfig {
	c := sized(*l.usual.Load(), l.dir.SnapshotBytes(), l.trailing.Load())
	if l.hurried.Load() {
		c.HeartbeatTimeout, c.ElectionTimeout = l.config.LeaderLeaseTimeout, l.config.LeaderLeaseTimeout
	}
	return c
}

// sized returns c for a newest snapshot of some bytes, and with at most so many entries
// left in the log behind the next; 0: as many as c says.
func sized(c raft.ReloadableConfig, snapshot int64, most uint64) raft.ReloadableConfig {
	large := uint64(snapshot / entryBytes)
	c.TrailingLogs, c.SnapshotThreshold = max(c.TrailingLogs, large), max(c.SnapshotThreshold, large)
	if most > 0 {
		c.TrailingLogs, c.SnapshotThreshold = min(c.TrailingLogs, most), min(c.SnapshotThreshold, most)
	}
	return c
}

// reload applies the wanted settings to raft, if they have changed.
func (l *life) reload() error {
	if wanted := l.wanted(); l.raft.ReloadableConfig() != wanted {
		return l.raft.ReloadConfig(wanted)
	}
	return nil
}

// startApplier makes the applier and waits for its end. It is not the catacomb's
// child: a catacomb kills its children as soon as it begins to die, and a leader
// must still write a last stamp then.
func (l *life) startApplier() error {
	applier, err := l.cfg.NewApplier(l.raft, l.cfg.Queue)
	if err != nil {
		return fmt.Errorf("cannot start applier: %w", err)
	}
	l.applier = applier
	go func() { l.ended <- applier.Wait() }()
	return nil
}

// leadership returns what this agent knows about the leader.
func (l *life) leadership() interrex.Leadership {
	// The term is read before and after, so that it belongs to this leader.
	for {
		term := l.raft.CurrentTerm()
		_, leader := l.raft.LeaderWithID()
		is := interrex.Leadership{
			Term: term, LeaderID: string(leader), LeaderAddress: l.cfg.APIAddress(string(leader)),
			Leader: l.raft.State() == raft.Leader,
		}
		is.Ready = is.Leader && l.applier.ReadyTerm() == term
		if l.raft.CurrentTerm() == term {
			return is
		}
	}
}
