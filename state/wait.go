package state

import (
	"container/heap"
	"context"
	"sync"

	"github.com/interrex/interrex"
)

// MaxWaiters is how many may wait in WaitApplied, and as many in WaitRevision.
const MaxWaiters = 65536

// waiters are callers who wait for a number to be reached, lowest first.
type waiters struct {
	mu     sync.Mutex
	queue  waiterHeap
	closed error
}

type waiter struct {
	target uint64
	place  int        // in the heap; negative: not in it any more
	done   chan error // of room one
}

// wait waits until reached returns target or more. After raising the value of
// reached, release must be called.
func (w *waiters) wait(ctx context.Context, target uint64, reached func() uint64) error {
	if reached() >= target {
		return nil
	}
	me, err := w.join(target, reached)
	if me == nil {
		return err
	}
	select {
	case err := <-me.done:
		return err
	case <-ctx.Done():
	}
	w.leave(me)
	return interrex.Errorf(interrex.KindTimeout, "state: %d was not reached in time, it stands at %d", target, reached()).WithCause(context.Cause(ctx))
}

// join returns nil if there is nothing to wait for.
func (w *waiters) join(target uint64, reached func() uint64) (*waiter, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed != nil:
		return nil, w.closed
	case reached() >= target:
		return nil, nil
	case len(w.queue) >= MaxWaiters:
		return nil, interrex.Errorf(interrex.KindOverloaded, "state: %d callers wait already", MaxWaiters)
	}
	me := &waiter{target: target, done: make(chan error, 1)}
	heap.Push(&w.queue, me)
	return me, nil
}

func (w *waiters) leave(me *waiter) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if me.place >= 0 {
		heap.Remove(&w.queue, me.place)
	}
}

// release wakes the waiters whose target has been reached.
func (w *waiters) release(reached uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.queue) > 0 && w.queue[0].target <= reached {
		heap.Pop(&w.queue).(*waiter).done <- nil
	}
}

// fail wakes all current waiters with an error.
func (w *waiters) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.queue) > 0 {
		heap.Pop(&w.queue).(*waiter).done <- err
	}
}

// close is like fail, for later waiters too.
func (w *waiters) close(err error) {
	w.mu.Lock()
	w.closed = err
	w.mu.Unlock()
	w.fail(err)
}

type waiterHeap []*waiter

func (h waiterHeap) Len() int           { return len(h) }
func (h waiterHeap) Less(i, j int) bool { return h[i].target < h[j].target }

func (h waiterHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

func (h *waiterHeap) Push(x any) {
	w := x.(*waiter)
	w.place = len(*h)
	*h = append(*h, w)
}

func (h *waiterHeap) Pop() any {
	last := len(*h) - 1
	w := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	w.place = -1
	return w
}
