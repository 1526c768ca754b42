package queue

import (
	"context"
	"sync"
	"time"

	"github.com/juju/clock"
	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/catacomb"

	"github.com/interrex/interrex/state"
)

// Queue holds the operations that wait for the log. Every operation is either
// returned by Take, once, or answered by the queue.
//
// It is a worker.Worker, whose goroutine answers operations whose deadline passes
// while they wait.
type Queue struct {
	catacomb catacomb.Catacomb
	clock    clock.Clock
	full     func() error
	ready    chan struct{}
	sooner   chan struct{} // receives when the earliest deadline has become earlier

	mu       sync.Mutex
	stopped  bool
	lanes    [lanes]lane
	earliest time.Time // no deadline is before it; zero: the queue is empty
	counts   counts
}

var _ worker.Worker = (*Queue)(nil)

// minSweep is the minimum time between sweeps, so that deadlines that are close
// together share one.
const minSweep = 10 * time.Millisecond

// counts are totals since the start.
type counts struct{ enqueued, taken, expired, canceled uint64 }

// failure is an operation that the queue answers after it has released its lock.
type failure struct {
	op  *Operation
	err error
}

func fail(failures []failure) {
	for _, f := range failures {
		f.op.Answer(state.Result{Err: f.err})
	}
}

// New makes a queue and starts its goroutine, which is ended by Kill.
func New(c Config) (*Queue, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	q := &Queue{clock: c.Clock, full: c.Full, ready: make(chan struct{}, 1), sooner: make(chan struct{}, 1)}
	if err := catacomb.Invoke(catacomb.Plan{Site: &q.catacomb, Work: q.loop}); err != nil {
		return nil, err
	}
	return q, nil
}

// Enqueue adds operations, in order. It returns when all are in the queue or
// answered: while the queue is full, the caller is held back until there is room,
// the operation's deadline passes, or ctx ends. Every result is passed to
// Operation.Done; ctx bounds only this call.
func (q *Queue) Enqueue(ctx context.Context, ops ...*Operation) {
	now := q.clock.Now()
	var refused []failure
	var c *caller
	q.mu.Lock()
	for _, op := range ops {
		if op.Deadline.IsZero() {
			op.Deadline = now.Add(Timeout(op.Extend))
		}
		if err := q.unfit(ctx, op, now); err != nil {
			refused = append(refused, failure{op, err})
			continue
		}
		l := &q.lanes[op.lane()]
		f := l.flowOf(op)
		switch room := f.held.Len() == 0 && l.hasRoom(f, op); {
		case !room && op.Via != "":
			l.forget(f)
			refused = append(refused, failure{op, errFull()})
			continue
		case room:
			l.push(f, op)
		default:
			if c == nil {
				c = &caller{free: make(chan struct{})}
			}
			l.hold(f, op, c)
		}
		q.counts.enqueued++
		q.expect(op.Deadline)
	}
	q.signal()
	q.mu.Unlock()
	fail(refused)
	if c != nil {
		q.holdBack(ctx, c)
	}
}

// unfit returns why op may not be added; nil: it may.
func (q *Queue) unfit(ctx context.Context, op *Operation, now time.Time) error {
	if q.stopped {
		return errStopped()
	}
	err := op.unfit(now)
	if err == nil && ctx.Err() != nil {
		err = errCanceled()
	}
	q.count(err)
	if err == nil {
		err = op.Validate() // an invalid one would stop every replica
	}
	if err == nil && q.full != nil && !op.spare() {
		err = q.full()
	}
	return err
}

// count counts an operation that the queue answers. The lock is held.
func (q *Queue) count(err error) {
	switch {
	case IsDeadlineExceeded(err):
		q.counts.expired++
	case IsCanceled(err):
		q.counts.canceled++
	}
}

// expect records a deadline. The lock is held.
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

// signal makes Ready receive if operations wait. The lock is held.
func (q *Queue) signal() {
	if q.lanes[laneNormal].ops+q.lanes[laneExtend].ops == 0 {
		return
	}
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// holdBack waits until all operations of c are in the queue or answered.
func (q *Queue) holdBack(ctx context.Context, c *caller) {
	select {
	case <-c.free:
		return
	case <-ctx.Done():
	}
	var gone []failure
	q.mu.Lock()
	for i := range q.lanes {
		l := &q.lanes[i]
		for f := range l.flows {
			l.release(f, func(h heldBack) bool {
				if h.caller != c {
					return true
				}
				gone = append(gone, failure{h.op, errCanceled()})
				return false
			})
		}
		l.tidy()
	}
	q.counts.canceled += uint64(len(gone))
	q.mu.Unlock()
	fail(gone)
}

// Ready returns a channel that receives when operations may wait, and again after a
// Take that left some behind.
func (q *Queue) Ready() <-chan struct{} { return q.ready }

// Take removes and returns at most maxOps operations of at most maxBytes together. From
// each lane it takes from the agents that have sent them, and from this one's callers, in
// turn, from the shares of each in turn, both by bytes (deficit round robin), and the
// operations of one share in order. A group counts as its operations; a single operation may be larger. Extends come
// first: they get up to three quarters of the room while others wait, and all of it
// otherwise. An operation that is past its deadline, or whose caller has given up, is
// answered instead.
func (q *Queue) Take(maxOps, maxBytes int) []*Operation {
	if maxOps <= 0 {
		return nil
	}
	q.mu.Lock()
	t := taking{now: q.clock.Now(), ops: maxOps, bytes: maxBytes}
	t.extendsFirst(&q.lanes[laneExtend], &q.lanes[laneNormal])
	q.took(&t)
	q.mu.Unlock()
	fail(t.failures)
	return t.out
}

// took completes a Take. The lock is held.
func (q *Queue) took(t *taking) {
	for _, f := range t.failures {
		q.count(f.err)
	}
	q.counts.taken += uint64(len(t.out))
	for i := range q.lanes {
		q.lanes[i].admit()
	}
	q.signal()
}

// Propose puts one command of a table into the log of this agent, which leads, and
// returns its result. The error is its refusal, or the cause of ctx's end.
func (q *Queue) Propose(ctx context.Context, table state.TableID, c state.Command) (state.Result, error) {
	done := make(chan state.Result, 1)
	q.Enqueue(ctx, &Operation{
		Operation: state.Operation{Table: table, Data: c.Append(nil)}, Command: c, Extend: c.About().Extend,
		Stop: ctx.Done(), Done: func(r state.Result) { done <- r },
	})
	select {
	case r := <-done:
		return r, r.Err
	case <-ctx.Done():
		return state.Result{}, context.Cause(ctx)
	}
}

// Depth returns how many operations wait in each lane.
func (q *Queue) Depth() (normal, extend int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.lanes[laneNormal].ops, q.lanes[laneExtend].ops
}

// Report describes the queue for the engine's report.
func (q *Queue) Report() map[string]any {
	q.mu.Lock()
	defer q.mu.Unlock()
	return map[string]any{
		"normal":    q.lanes[laneNormal].ops,
		"extend":    q.lanes[laneExtend].ops,
		"callers":   q.lanes[laneNormal].callers() + q.lanes[laneExtend].callers(),
		"held-back": q.lanes[laneNormal].back + q.lanes[laneExtend].back,
		"enqueued":  q.counts.enqueued,
		"taken":     q.counts.taken,
		"expired":   q.counts.expired,
		"canceled":  q.counts.canceled,
	}
}

// Kill stops the queue: operations that wait, or are enqueued later, are answered
// with an error of interrex.ErrDraining.
func (q *Queue) Kill() { q.catacomb.Kill(nil) }

// Wait waits until everything that was in the queue is answered.
func (q *Queue) Wait() error { return q.catacomb.Wait() }

// loop sweeps at the earliest deadline. That may be the deadline of an operation
// that was taken in time; the sweep then finds the next one.
func (q *Queue) loop() error {
	defer q.drain()
	timer := q.clock.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		var alarm <-chan time.Time
		if at := q.next(); !at.IsZero() {
			timer.Reset(max(minSweep, at.Sub(q.clock.Now())))
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

func (q *Queue) next() time.Time {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.earliest
}

// sweep answers operations that may no longer enter the log.
func (q *Queue) sweep() {
	now := q.clock.Now()
	var failures []failure
	fits := func(op *Operation) bool {
		err := op.unfit(now)
		if err != nil {
			q.count(err)
			failures = append(failures, failure{op, err})
			return false
		}
		q.expect(op.Deadline)
		return true
	}
	q.mu.Lock()
	q.earliest = time.Time{}
	for i := range q.lanes {
		q.lanes[i].sweep(fits)
	}
	q.signal()
	q.mu.Unlock()
	fail(failures)
}

// drain answers all operations, and makes Enqueue refuse later ones.
func (q *Queue) drain() {
	var failures []failure
	q.mu.Lock()
	q.stopped = true
	for i := range q.lanes {
		l := &q.lanes[i]
		l.sweep(func(op *Operation) bool {
			failures = append(failures, failure{op, errStopped()})
			return false
		})
	}
	q.mu.Unlock()
	fail(failures)
}
