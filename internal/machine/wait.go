package machine

import (
	"context"
	"sync"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/waitlist"
)

// maxWaiters limits the waiters in WaitApplied, and those in WaitRevision.
const maxWaiters = 65536

// waiters are callers that wait for a number to be reached.
type waiters struct {
	mu     sync.Mutex
	list   waitlist.List
	closed error
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
	case err := <-me.Done:
		return err
	case <-ctx.Done():
	}
	w.leave(me)
	return interrex.Errorf(interrex.ErrTimeout, "state: %d was not reached in time, it is at %d", target, reached()).WithCause(context.Cause(ctx))
}

// join returns nil if there is nothing to wait for.
func (w *waiters) join(target uint64, reached func() uint64) (*waitlist.Waiter, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed != nil:
		return nil, w.closed
	case reached() >= target:
		return nil, nil
	case w.list.Len() >= maxWaiters:
		return nil, interrex.Errorf(interrex.ErrOverloaded, "state: %d callers are waiting already, which is the limit", maxWaiters)
	}
	return w.list.Join(target), nil
}

func (w *waiters) leave(me *waitlist.Waiter) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.list.Leave(me)
}

// release wakes the waiters whose target has been reached.
func (w *waiters) release(reached uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.list.Release(reached)
}

// fail wakes all current waiters with an error.
func (w *waiters) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.list.Fail(err)
}

// close is like fail, for later waiters too.
func (w *waiters) close(err error) {
	w.mu.Lock()
	w.closed = err
	w.mu.Unlock()
	w.fail(err)
}
