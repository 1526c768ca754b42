package leaseapplier

import (
	"time"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex/state"
)

// leading is what the builder knows about its own leadership. Its zero value is
// a follower's.
type leading struct {
	term   uint64     // in which this agent leads; 0: it does not
	ready  bool       // it has applied its predecessors' entries
	paused bool       // raft has refused an entry: a barrier must succeed first
	first  bool       // no entry of this term has been proposed
	base   state.Time // cluster time that was found
	since  time.Time  // own clock then

	barrier    bool      // one is under way
	retry      time.Time // no barrier before
	stuckSince time.Time // raft hands leadership over since then; zero: it does not
}

// barrierRetry is the pause after a barrier that failed.
const barrierRetry = 250 * time.Millisecond

// barrierDone is the answer of a barrier.
type barrierDone struct {
	term  uint64
	index uint64
	err   error
}

// observe returns the term in which this agent leads; 0: it does not. The term is
// read on both sides of the state, which raft does not give together.
func (b *builder) observe() uint64 {
	term := b.config.Raft.CurrentTerm()
	if b.config.Raft.State() != raft.Leader || b.config.Raft.CurrentTerm() != term {
		return 0
	}
	return term
}

// follow takes note of a change of leadership.
func (b *builder) follow() {
	term := b.observe()
	if term == b.lead.term {
		return
	}
	if b.lead.term != 0 {
		b.shared.readyTerm.Store(0)
		b.config.Logger.Infof("no longer the leader of term %d", b.lead.term)
		b.waiters.leaveAll(b.errNotLeader())
		b.endFinals(b.errNotLeader())
	}
	b.lead = leading{term: term, first: true}
}

// errNotLeader says where the leader may be.
func (b *builder) errNotLeader() error {
	_, id := b.config.Raft.LeaderWithID()
	if id == "" {
		return NewNotLeaderError("", "")
	}
	return NewNotLeaderError(b.config.Address(string(id)), string(id))
}

// refuseAll answers what waits in the queue: this agent does not lead.
func (b *builder) refuseAll() {
	start := b.config.Clock.Now()
	for {
		b.taken = b.config.Queue.Take(state.MaxOperations, state.BatchBytes)
		if len(b.taken) == 0 {
			return
		}
		err := b.errNotLeader()
		b.config.Metrics.RecordLeaderError(start)
		for _, op := range b.taken {
			b.answer(op, state.Result{Attempt: op.Attempt, Err: err})
		}
		b.taken = nil
	}
}

// startBarrier asks raft to apply everything of earlier terms. A barrier has no
// bound of its own: one at a time is waited for, beside the builder.
func (b *builder) startBarrier(now time.Time) {
	if b.lead.barrier || now.Before(b.lead.retry) {
		return
	}
	b.lead.barrier = true
	term, r, timeout := b.lead.term, b.config.Raft, b.config.InitialApplyTimeout
	go func() {
		done := barrierDone{term: term}
		future := r.Barrier(timeout)
		if done.err = future.Error(); done.err == nil {
			if f, ok := future.(raft.IndexFuture); ok {
				done.index = f.Index()
			}
		}
		select {
		case b.shared.barriers <- done:
		case <-b.shared.gone:
		}
	}()
}

// endBarrier makes this agent ready to lead, if it still does.
func (b *builder) endBarrier(done barrierDone) {
	if done.term != b.lead.term {
		return
	}
	b.lead.barrier = false
	now := b.config.Clock.Now()
	if done.err != nil {
		b.lead.retry = now.Add(barrierRetry)
		b.config.Logger.Debugf("cannot pass a barrier in term %d: %v", done.term, done.err)
		b.noteRefusal(done.err, now)
		return
	}
	if b.observe() != done.term {
		return
	}
	if done.index > 0 {
		b.config.State.Passed(done.index)
	}
	b.lead.stuckSince = time.Time{}
	b.lead.paused = false
	if b.lead.ready {
		return
	}
	b.lead.ready, b.lead.base, b.lead.since = true, b.config.State.Now(), now
	b.forgetTerms(done.term)
	b.shared.readyTerm.Store(done.term)
	b.config.Logger.Infof("ready to lead in term %d", done.term)
}

// noteRefusal notes that raft does not take entries, as while it hands
// leadership over: the next one waits until a barrier succeeds, or leadership is
// gone, so that nothing here asks again and again.
func (b *builder) noteRefusal(err error, now time.Time) {
	if !nothingHappened(err) {
		return
	}
	b.lead.paused = true
	if isTransfer(err) && b.lead.stuckSince.IsZero() {
		b.lead.stuckSince = now
		b.config.Logger.Infof("leadership is being handed over")
	}
}

// isStuck reports whether raft hands leadership over for too long.
func (b *builder) isStuck(now time.Time) bool {
	return !b.lead.stuckSince.IsZero() && now.Sub(b.lead.stuckSince) >= b.config.StuckAfter
}

// clusterNow is the present cluster time of a leader that is ready: what it
// found, moved by its own monotonic clock. While nobody leads it stands still.
func (b *builder) clusterNow() state.Time {
	return b.lead.base.Add(b.config.Clock.Now().Sub(b.lead.since))
}
