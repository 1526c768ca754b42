package raftrules

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex/internal/raftlog"
)

// errStarting is the answer to a snapshot that arrives before raft runs.
var errStarting = errors.New("raft is starting")

// installs decides which of a leader's snapshots raft may install.
type installs struct {
	*local

	offers   offers
	coming   atomic.Pointer[raftlog.Position] // the leader's snapshot that raft is handling; nil: none
	conflict chan struct{}                    // of capacity 1: this life must end, so that the log can be cut
	cut      atomic.Pointer[raftlog.Position] // the snapshot that conflicts with the log; nil: none
}

// answer answers a leader's snapshot that raft must not install: raft would delete
// the whole log, keep its old end in memory, and roll the state back.
//
// Applied entries are committed, and so are those in a snapshot: a snapshot that
// the log reaches with the same term, or that is applied, is a prefix of what is
// here, and success is the right answer (Raft paper, figure 13, rule 6). An entry of
// another term at its index is not committed, nor is any behind it: this life of
// raft ends, so that they can be removed. A leader of an old term is left to raft,
// which refuses it.
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
	// The term is ours, which may be lower: nothing of the request is saved.
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

// hand records the snapshot that is about to be passed to raft, which distinguishes
// it from raft's own.
func (i *installs) hand(request *raft.InstallSnapshotRequest) (answered func()) {
	i.coming.Store(&raftlog.Position{Term: request.LastLogTerm, Index: request.LastLogIndex})
	return func() { i.coming.Store(nil) }
}

// mayBegin checks a leader's snapshot again when raft begins to install it: raft
// may have stored entries since the request was checked.
func (i *installs) mayBegin(at raftlog.Position) error {
	if coming := i.coming.Load(); coming == nil || *coming != at {
		return nil // raft's own
	}
	last, err := i.dir.LastIndex()
	if err != nil {
		return err
	}
	if running := i.raft.Load(); running == nil || at.Index <= max(last, running.AppliedIndex()) {
		return fmt.Errorf("the log has since reached the snapshot's index %d", at.Index)
	}
	return nil
}

// cutConflict removes the entries that, by a leader's snapshot, are not committed.
// raft must have ended.
func (i *installs) cutConflict() error {
	at := i.cut.Load()
	if at == nil {
		return nil
	}
	i.cfg.Logger.Warningf("the log is cut from index %d on: its entry there differs from the leader's snapshot", at.Index)
	if err := i.dir.CutFor(*at); err != nil {
		return fmt.Errorf("cannot cut the log from index %d on: %w", at.Index, err)
	}
	return nil
}

// guarded is a store of raft's snapshots that does not install one over a log that
// reaches it.
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
