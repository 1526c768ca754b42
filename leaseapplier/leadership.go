package leaseapplier

import (
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex/state"
)

// leadership tracks whether this agent leads and may propose entries, and the
// cluster time. Except for readyTerm it is used only by the Applier's goroutine.
type leadership struct {
	config    *Config
	readyTerm atomic.Uint64 // the term in which this agent is ready; 0: there is none
	barriers  chan barrierResult
	ended     chan struct{} // closed when barriers is no longer received from
	tenure
}

// tenure is the leadership of one term. Its zero value is a follower's.
type tenure struct {
	term   uint64     // in which this agent leads; 0: it does not
	ready  bool       // it has applied its predecessors' entries
	paused bool       // raft has refused an entry: a barrier must succeed first
	first  bool       // no entry of this term has been proposed
	base   state.Time // cluster time when it became ready
	since  time.Time  // own clock then

	barrier       bool      // one is in progress
	retryAt       time.Time // earliest time of the next barrier
	transferSince time.Time // raft has been handing leadership over since then; zero: it is not
}

// barrierRetry is the pause after a failed barrier.
const barrierRetry = 250 * time.Millisecond

// barrierResult is the result of a barrier.
type barrierResult struct {
	term  uint64
	index uint64
	err   error
}

// update reads raft's state and reports whether a leadership has ended.
func (l *leadership) update() (lost bool) {
	term := l.observe()
	if term == l.term {
		return false
	}
	if lost = l.term != 0; lost {
		l.readyTerm.Store(0)
		l.config.Logger.Infof("no longer the leader of term %d", l.term)
	}
	l.tenure = tenure{term: term, first: true}
	return lost
}

// observe returns the term in which this agent leads; 0: it does not. raft cannot
// return both at once, so the term is read before and after the role.
func (l *leadership) observe() uint64 {
	term := l.config.Raft.CurrentTerm()
	if l.config.Raft.State() != raft.Leader || l.config.Raft.CurrentTerm() != term {
		return 0
	}
	return term
}

// mayPropose reports whether raft accepts entries from this agent.
func (l *leadership) mayPropose() bool { return l.ready && !l.paused }

// startBarrier makes raft apply everything of earlier terms. A barrier has no
// deadline, so a goroutine waits for it; there is one at a time.
func (l *leadership) startBarrier(now time.Time) {
	if l.barrier || now.Before(l.retryAt) {
		return
	}
	l.barrier = true
	result := barrierResult{term: l.term}
	go func() {
		future := l.config.Raft.Barrier(InitialApplyTimeout)
		if result.err = future.Error(); result.err == nil {
			if f, ok := future.(raft.IndexFuture); ok {
				result.index = f.Index()
			}
		}
		select {
		case l.barriers <- result:
		case <-l.ended:
		}
	}()
}

// endBarrier handles a barrier's result and reports whether this agent has become
// ready to lead.
func (l *leadership) endBarrier(result barrierResult) (ready bool) {
	if result.term != l.term {
		return false
	}
	l.barrier = false
	now := l.config.Clock.Now()
	if result.err != nil {
		l.retryAt = now.Add(barrierRetry)
		l.config.Logger.Debugf("cannot pass a barrier in term %d: %v", result.term, result.err)
		l.noteRefusal(result.err, now)
		return false
	}
	if l.observe() != result.term {
		return false
	}
	if result.index > 0 {
		l.config.State.Passed(result.index)
	}
	l.noteSuccess()
	l.paused = false
	if l.ready {
		return false
	}
	l.ready, l.base, l.since = true, l.config.State.Now(), now
	l.readyTerm.Store(result.term)
	l.config.Logger.Infof("ready to lead in term %d", result.term)
	return true
}

// clusterNow returns the present cluster time of a leader that is ready: the time
// when it became ready, advanced by its own monotonic clock. Without a leader,
// cluster time does not advance.
func (l *leadership) clusterNow() state.Time {
	return l.base.Add(l.config.Clock.Now().Sub(l.since))
}

// applyTimeout returns how long raft may take to accept the next entry, which is
// longer for the first one of a term.
func (l *leadership) applyTimeout() time.Duration {
	timeout := ApplyTimeout
	if l.first {
		timeout = InitialApplyTimeout
	}
	l.first = false
	return timeout
}

// noteSuccess records that raft accepts entries.
func (l *leadership) noteSuccess() { l.transferSince = time.Time{} }

// noteRefusal records that raft does not accept entries, as during a leadership
// transfer: nothing is proposed until a barrier succeeds or leadership is lost.
func (l *leadership) noteRefusal(err error, now time.Time) {
	if !nothingHappened(err) {
		return
	}
	l.paused = true
	if isTransfer(err) && l.transferSince.IsZero() {
		l.transferSince = now
		l.config.Logger.Infof("leadership is being handed over")
	}
}

// isStuck reports whether raft has been handing leadership over for too long.
func (l *leadership) isStuck(now time.Time) bool {
	return !l.transferSince.IsZero() && now.Sub(l.transferSince) >= stuckAfter
}

// retryIn returns the time until the next barrier is due; false: none is.
func (l *leadership) retryIn(now time.Time) (time.Duration, bool) {
	if l.mayPropose() || l.term == 0 || l.barrier {
		return 0, false
	}
	return l.retryAt.Sub(now), true
}
