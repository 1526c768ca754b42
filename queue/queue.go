package queue

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/juju/errors"
	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/catacomb"

	"github.com/interrex/interrex/state"
)

// Queue is the operations that wait for the log. Every operation that is given
// to Enqueue is either handed out by Take, once, or answered by the queue.
//
// It is a worker.Worker because one goroutine of its own answers operations
// whose deadline passes while nobody takes them.
type Queue struct {
	catacomb catacomb.Catacomb
	config   Config
	ready    chan struct{}
	sooner   chan struct{} // the earliest deadline has come nearer

	mu       sync.Mutex
	stopped  bool
	lanes    [lanes]lane
	earliest time.Time // no deadline is before it; zero: none waits
	counts   counts
}

var _ worker.Worker = (*Queue)(nil)

// counts are totals since the start.
type counts struct{ enqueued, taken, expired, canceled uint64 }

// failure is an operation that the queue answers, once its lock is free.
type failure struct {
	op  *Operation
	err error
}

func fail(failures []failure) {
	for _, f := range failures {
		f.op.Answer(state.Result{Err: f.err})
	}
}

// New makes a queue and starts its goroutine, which Kill ends.
func New(c Config) (*Queue, error) {
	if err := c.Validate(); err != nil {
		return nil, errors.Trace(err)
	}
	c.setDefaults()
	q := &Queue{config: c, ready: make(chan struct{}, 1), sooner: make(chan struct{}, 1)}
	if err := catacomb.Invoke(catacomb.Plan{Site: &q.catacomb, Work: q.loop}); err != nil {
		return nil, errors.Trace(err)
	}
	return q, nil
}

// Enqueue adds operations to the queue, in order. It returns when all are in
// the queue or answered: a caller is held back while the queue is full, until
// there is room, the operation's deadline, or the end of ctx. Every result comes
// by Operation.Done; ctx does not reach further than this call.
func (q *Queue) Enqueue(ctx context.Context, ops ...*Operation) {
	now := q.config.Clock.Now()
	var refused []failure
	var c *caller
	q.mu.Lock()
	for _, op := range ops {
		if op.Deadline.IsZero() {
			op.Deadline = now.Add(q.config.timeout(op.Lane))
		}
		switch err := q.unfit(ctx, op, now); {
		case err != nil:
			refused = append(refused, failure{op, err})
		default:
			c = q.put(op, c)
		}
	}
	q.signal()
	q.mu.Unlock()
	fail(refused)
	if c != nil {
		q.holdBack(ctx, c)
	}
}

// unfit says why op may not come in; nil: it may.
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
		err = op.Validate() // one that does not fit an entry would stop every replica
	}
	return err
}

// put lets op in, or holds it back, for c, which is made if need be.
func (q *Queue) put(op *Operation, c *caller) *caller {
	q.counts.enqueued++
	q.expect(op.Deadline)
	l := &q.lanes[op.Lane]
	if l.held.len() == 0 && l.hasRoom(op, &q.config) {
		l.push(op)
		return c
	}
	if c == nil {
		c = &caller{free: make(chan struct{})}
	}
	c.left++
	l.held.push(heldBack{op, c})
	return c
}

// holdBack waits until nothing of c is held back any more.
func (q *Queue) holdBack(ctx context.Context, c *caller) {
	select {
	case <-c.free:
		return
	case <-ctx.Done():
	}
	var gone []failure
	q.mu.Lock()
	for i := range q.lanes {
		q.lanes[i].held.keep(func(h heldBack) bool {
			if h.caller != c {
				return true
			}
			gone = append(gone, failure{h.op, errCanceled()})
			return false
		})
	}
	q.counts.canceled += uint64(len(gone))
	q.mu.Unlock()
	fail(gone)
}

// Ready yields a value when operations may wait. After a Take that left some
// behind it yields again.
func (q *Queue) Ready() <-chan struct{} { return q.ready }

// Take hands out at most maxOps operations of at most maxBytes together (a
// single one may be larger), a group counted as its operations, extends first: those take up to three quarters of
// the room while others wait, and all of it otherwise. What is past its
// deadline, or whose caller has gone, is answered and does not count.
func (q *Queue) Take(maxOps, maxBytes int) []*Operation {
	if maxOps <= 0 {
		return nil
	}
	q.mu.Lock()
	extends, normal := &q.lanes[state.LaneExtend], &q.lanes[state.LaneNormal]
	var keptOps, keptBytes int // for the others
	if normal.waiting.len() > 0 {
		keptOps, keptBytes = maxOps/4, maxBytes/4
	}
	t := taking{now: q.config.Clock.Now(), ops: maxOps - keptOps, bytes: maxBytes - keptBytes}
	t.out = make([]*Operation, 0, min(maxOps, extends.waiting.len()+normal.waiting.len()))
	t.from(extends)
	first := len(t.out)
	t.ops += keptOps
	t.bytes += keptBytes
	t.from(normal)
	others := len(t.out)
	t.from(extends)
	if more := t.out[others:]; len(more) > 0 && others > first {
		t.out = slices.Insert(t.out[:others], first, slices.Clone(more)...)
	}
	q.took(&t)
	q.mu.Unlock()
	fail(t.failures)
	return t.out
}

// took settles a Take. The lock is held.
func (q *Queue) took(t *taking) {
	for _, f := range t.failures {
		q.count(f.err)
	}
	q.counts.taken += uint64(len(t.out))
	for i := range q.lanes {
		q.lanes[i].admit(&q.config)
	}
	q.signal()
}

// taking is one Take: the room that it has left, and what it has taken.
type taking struct {
	now        time.Time
	ops, bytes int
	out        []*Operation
	failures   []failure
}

// from takes what fits of a lane.
func (t *taking) from(l *lane) {
	for t.ops > 0 && l.waiting.len() > 0 {
		op := l.waiting.first()
		if err := op.unfit(t.now); err != nil {
			t.failures = append(t.failures, failure{l.pop(), err})
			continue
		}
		size, count := op.Size(), op.Count()
		if (size > t.bytes || count > t.ops) && len(t.out) > 0 {
			break
		}
		t.out = append(t.out, l.pop())
		t.ops -= count
		t.bytes -= size
	}
}

// count adds an operation that the queue answers. The lock is held.
func (q *Queue) count(err error) {
	switch {
	case IsDeadlineExceeded(err):
		q.counts.expired++
	case IsCanceled(err):
		q.counts.canceled++
	}
}

// signal says that operations wait, if some do. The lock is held.
func (q *Queue) signal() {
	if q.lanes[state.LaneNormal].waiting.len()+q.lanes[state.LaneExtend].waiting.len() == 0 {
		return
	}
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// Capacity is how many operations each lane holds.
func (q *Queue) Capacity() int { return q.config.Capacity }

// Depth returns how many operations wait in each lane.
func (q *Queue) Depth() (normal, extend int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.lanes[state.LaneNormal].waiting.len(), q.lanes[state.LaneExtend].waiting.len()
}
