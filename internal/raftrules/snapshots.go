package raftrules

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex/internal/raftlog"
)

// errStarting is answered to a snapshot that arrives before raft runs.
var errStarting = errors.New("raft is starting")

// installs decides which of a leader's snapshots raft may install.
type installs struct {
	*local

	offers   offers
	coming   atomic.Pointer[raftlog.Position] // the leader's snapshot that raft has been given; nil: none
	conflict chan struct{}                    // of capacity 1: this life must end, so that the log can be cut
	cut      atomic.Pointer[raftlog.Position] // the snapshot that conflicts with the log; nil: none
}

// answer answers a leader's snapshot where raft must not install it:
// raft deletes the whole log then, goes on believing in its old end, and has
// taken the state back.
//
// What is applied here is committed, and so is what a snapshot holds: a snapshot
// that the log reaches with the same term, or that is applied, is a prefix of
// what is here, and success is the true answer (Raft paper, figure 13, rule 6).
// An entry of another term in its place is not committed, and none behind it is:
// this life of raft ends, so that they can be cut off. A leader of an old term
// is left to raft, which refuses it.
func (i *installs) answer(request *raft.InstallSnapshotRequest) (response any, err error, answered bool) {
	term := i.dir.Term()
	if request.Term < term {
		return nil, nil, false
	}
	running := i.raft.Load()
	if running == nil {
		return nil, errStarting, true
	}
	at := raftlog.Position{Term: request.LastLogTerm, Index: request.LastLogIndex}
	i.offers.count(at.Index)
	// The term is our own, which may be lower: nothing of the request is saved.
	taken := &raft.InstallSnapshotResponse{RPCHeader: i.header(), Term: term, Success: true}
	if at.Index <= running.AppliedIndex() {
		i.cfg.Logger.Infof("a snapshot up to entry %d was not installed: this agent has applied it", at.Index)
		return taken, nil, true
	}
	switch here, err := i.dir.TermAt(at.Index); {
	case err == raft.ErrLogNotFound:
		return nil, nil, false
	case err != nil:
		return nil, err, true
	case here == at.Term:
		i.cfg.Logger.Infof("a snapshot up to entry %d was not installed: this agent has that entry", at.Index)
		return taken, nil, true
	}
	i.cut.CompareAndSwap(nil, &at)
	select {
	case i.conflict <- struct{}{}:
	default: // it is known
	}
	return nil, fmt.Errorf("%w: at index %d", ErrConflict, at.Index), true
}

// hand notes which snapshot raft is about to be given, so that it is
// told from raft's own ones.
func (i *installs) hand(request *raft.InstallSnapshotRequest) (answered func()) {
	i.coming.Store(&raftlog.Position{Term: request.LastLogTerm, Index: request.LastLogIndex})
	return func() { i.coming.Store(nil) }
}

// mayBegin looks at a leader's snapshot again when raft has begun to install it:
// raft may have been storing entries while the request was looked at.
func (i *installs) mayBegin(at raftlog.Position) error {
	if coming := i.coming.Load(); coming == nil || *coming != at {
		return nil // raft's own
	}
	last, err := i.dir.LastIndex()
	if err != nil {
		return err
	}
	if running := i.raft.Load(); running == nil || at.Index <= max(last, running.AppliedIndex()) {
		return fmt.Errorf("the log has reached the snapshot's index %d meanwhile", at.Index)
	}
	return nil
}

// cutConflict cuts off what a leader's snapshot has shown not to be committed,
// once raft has ended.
func (i *installs) cutConflict() error {
	at := i.cut.Load()
	if at == nil {
		return nil
	}
	i.cfg.Logger.Warningf("the log is cut from index %d on: the leader's snapshot has another entry there", at.Index)
	if err := i.dir.CutFor(*at); err != nil {
		return fmt.Errorf("cannot cut the log from index %d on: %w", at.Index, err)
	}
	return nil
}

// guarded are raft's snapshots, of which none is installed over a log
// that reaches it.
type guarded struct {
	raft.SnapshotStore
	installs *installs
}

// Create begins a snapshot, of raft's own or of the leader's.
func (g guarded) Create(version raft.SnapshotVersion, index, term uint64, members raft.Configuration, membersIndex uint64, trans raft.Transport) (raft.SnapshotSink, error) {
	if err := g.installs.mayBegin(raftlog.Position{Term: term, Index: index}); err != nil {
		return nil, err
	}
	return g.SnapshotStore.Create(version, index, term, members, membersIndex, trans)
}
