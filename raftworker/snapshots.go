package raftworker

import (
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"github.com/juju/clock"

	"github.com/interrex/interrex/internal/raftlog"
)

const (
	// maxOffers is how often a snapshot of one index may arrive before it is an
	// alarm: a leader that sends the same one again and again has a follower that
	// it cannot bring up to date (hashicorp/raft#697).
	maxOffers = 3
	// offersApart is how long the alarm stays without another one: raft waits for
	// 10 s at most between two, and each may take a while.
	offersApart = 2 * time.Minute
)

// offers counts how often one index's snapshot arrives in a row, whether it is
// installed or not.
type offers struct {
	clock  clock.Clock
	logger Logger

	mu    sync.Mutex
	index uint64
	times int
	last  time.Time
}

func (o *offers) count(index uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if index != o.index {
		o.index, o.times = index, 0
	}
	o.times++
	o.last = o.clock.Now()
	if o.times == maxOffers+1 {
		o.logger.Errorf("the leader has sent the snapshot of log index %d %d times: this agent cannot catch up; if it goes on, restart it, and the leader", index, o.times)
	}
}

// alarm returns the index whose snapshot arrives again and again; 0: none does.
func (o *offers) alarm() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.times <= maxOffers || o.clock.Now().Sub(o.last) > offersApart {
		return 0
	}
	return o.index
}

// guardedSnapshots are raft's snapshots, of which none is installed over a log
// that reaches it.
type guardedSnapshots struct {
	raft.SnapshotStore
	rules *rules
}

// Create begins a snapshot, of raft's own or of the leader's.
func (g guardedSnapshots) Create(version raft.SnapshotVersion, index, term uint64, members raft.Configuration, membersIndex uint64, trans raft.Transport) (raft.SnapshotSink, error) {
	if err := g.rules.mayBegin(raftlog.Position{Term: term, Index: index}); err != nil {
		return nil, err
	}
	return g.SnapshotStore.Create(version, index, term, members, membersIndex, trans)
}

// answerSnapshot answers a leader's snapshot where raft must not install it:
// raft deletes the whole log then, goes on believing in its old end, and has
// taken the state back.
//
// What is applied here is committed, and so is what a snapshot holds: a snapshot
// that the log reaches with the same term, or that is applied, is a prefix of
// what is here, and success is the true answer (Raft paper, figure 13, rule 6).
// An entry of another term in its place is not committed, and none behind it is:
// this life of raft ends, so that they can be cut off. A leader of an old term
// is left to raft, which refuses it.
func (r *rules) answerSnapshot(request *raft.InstallSnapshotRequest) (response any, err error, answered bool) {
	term := r.dir.Term()
	if request.Term < term {
		return nil, nil, false
	}
	running := r.raft.Load()
	if running == nil {
		return nil, errStarting, true
	}
	at := raftlog.Position{Term: request.LastLogTerm, Index: request.LastLogIndex}
	r.offers.count(at.Index)
	// The term is our own, which may be lower: nothing of the request is saved.
	taken := &raft.InstallSnapshotResponse{RPCHeader: r.header(), Term: term, Success: true}
	if at.Index <= running.AppliedIndex() {
		r.cfg.Logger.Infof("a snapshot up to entry %d was not installed: this agent has applied it", at.Index)
		return taken, nil, true
	}
	switch here, err := r.dir.TermAt(at.Index); {
	case err == raft.ErrLogNotFound:
		return nil, nil, false
	case err != nil:
		return nil, err, true
	case here == at.Term:
		r.cfg.Logger.Infof("a snapshot up to entry %d was not installed: this agent has that entry", at.Index)
		return taken, nil, true
	}
	r.cut.CompareAndSwap(nil, &at)
	select {
	case r.conflict <- struct{}{}:
	default: // it is known
	}
	return nil, fmt.Errorf("%w: at index %d", ErrConflict, at.Index), true
}

// handSnapshot notes which snapshot raft is about to be given, so that it is
// told from raft's own ones.
func (r *rules) handSnapshot(request *raft.InstallSnapshotRequest) (answered func()) {
	r.coming.Store(&raftlog.Position{Term: request.LastLogTerm, Index: request.LastLogIndex})
	return func() { r.coming.Store(nil) }
}

// mayBegin looks at a leader's snapshot again when raft has begun to install it:
// raft may have been storing entries while the request was looked at.
func (r *rules) mayBegin(at raftlog.Position) error {
	if coming := r.coming.Load(); coming == nil || *coming != at {
		return nil // raft's own
	}
	last, err := r.dir.LastIndex()
	if err != nil {
		return err
	}
	if running := r.raft.Load(); running == nil || at.Index <= max(last, running.AppliedIndex()) {
		return fmt.Errorf("the log has reached the snapshot's index %d meanwhile", at.Index)
	}
	return nil
}

// cutConflict cuts off what a leader's snapshot has shown not to be committed,
// once raft has ended.
func (r *rules) cutConflict() error {
	at := r.cut.Load()
	if at == nil {
		return nil
	}
	r.cfg.Logger.Warningf("the log is cut from index %d on: the leader's snapshot has another entry there", at.Index)
	if err := r.dir.CutFor(*at); err != nil {
		return fmt.Errorf("cannot cut the log from index %d on: %w", at.Index, err)
	}
	return nil
}
