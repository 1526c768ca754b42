package queue

import (
	"time"

	"github.com/interrex/interrex/state"
)

// minSweep keeps deadlines that lie close together from making a sweep each.
const minSweep = 10 * time.Millisecond

// Kill stops the queue: whatever waits, and whatever comes later, is answered
// with ErrStopped.
func (q *Queue) Kill() { q.catacomb.Kill(nil) }

// Wait waits until everything that was in the queue is answered.
func (q *Queue) Wait() error { return q.catacomb.Wait() }

// Report describes the queue for the engine's report.
func (q *Queue) Report() map[string]any {
	q.mu.Lock()
	defer q.mu.Unlock()
	return map[string]any{
		"normal":    q.lanes[state.LaneNormal].waiting.Len(),
		"extend":    q.lanes[state.LaneExtend].waiting.Len(),
		"held-back": q.lanes[state.LaneNormal].held.Len() + q.lanes[state.LaneExtend].held.Len(),
		"enqueued":  q.counts.enqueued,
		"taken":     q.counts.taken,
		"expired":   q.counts.expired,
		"canceled":  q.counts.canceled,
	}
}

// loop sweeps at the earliest deadline. Deadlines are not followed one by one:
// an operation that is taken in time leaves its own behind, and the sweep at
// that moment finds the next.
func (q *Queue) loop() error {
	defer q.drain()
	timer := q.config.Clock.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		var alarm <-chan time.Time
		if at := q.next(); !at.IsZero() {
			timer.Reset(max(minSweep, at.Sub(q.config.Clock.Now())))
			alarm = timer.Chan()
		}
		select {
		case <-q.catacomb.Dying():
			return q.catacomb.ErrDying()
		case <-q.sooner:
		case <-alarm:
			q.sweep()
		}
	}
}

// expect notes a deadline. The lock is held.
func (q *Queue) expect(deadline time.Time) {
	if !q.earliest.IsZero() && !deadline.Before(q.earliest) {
		return
	}
	q.earliest = deadline
	select {
	case q.sooner <- struct{}{}:
	default:
	}
}

func (q *Queue) next() time.Time {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.earliest
}

// sweep answers what may not enter the log any more.
func (q *Queue) sweep() {
	now := q.config.Clock.Now()
	var failures []failure
	fits := func(op *Operation) bool {
		err := op.unfit(now)
		if err != nil {
			q.count(err)
			failures = append(failures, failure{op, err})
		}
		return err == nil
	}
	q.mu.Lock()
	q.earliest = time.Time{}
	for i := range q.lanes {
		q.sweepLane(&q.lanes[i], fits)
	}
	q.mu.Unlock()
	fail(failures)
}

func (q *Queue) sweepLane(l *lane, fits func(*Operation) bool) {
	l.bytes = 0
	l.waiting.Keep(func(op *Operation) bool {
		if !fits(op) {
			return false
		}
		l.bytes += op.Size()
		q.expect(op.Deadline)
		return true
	})
	l.held.Keep(func(h heldBack) bool {
		if !fits(h.op) {
			h.caller.release()
			return false
		}
		q.expect(h.op.Deadline)
		return true
	})
	l.admit(&q.config)
	q.signal()
}

// drain answers everything, and makes Enqueue refuse what comes later.
func (q *Queue) drain() {
	var failures []failure
	q.mu.Lock()
	q.stopped = true
	for i := range q.lanes {
		l := &q.lanes[i]
		for l.waiting.Len() > 0 {
			failures = append(failures, failure{l.pop(), errStopped()})
		}
		for l.held.Len() > 0 {
			h := l.held.Pop()
			h.caller.release()
			failures = append(failures, failure{h.op, errStopped()})
		}
	}
	q.mu.Unlock()
	fail(failures)
}
