package api

import (
	"context"
	"sync"
	"time"

	"github.com/interrex/interrex"
)

// calls counts what is open on a server, so that a drain can wait for it.
type calls struct {
	ended context.Context // done from the beginning of a drain on
	end   context.CancelFunc

	mu   sync.Mutex
	open int
	idle chan struct{} // closed when the drain has begun and nothing is open
}

func newCalls() *calls {
	c := &calls{idle: make(chan struct{})}
	c.ended, c.end = context.WithCancel(context.Background())
	return c
}

// enter opens one call, which leave closes. The error is KindDraining.
func (c *calls) enter() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.draining() {
		return drainingError()
	}
	c.open++
	return nil
}

// leave closes n calls.
func (c *calls) leave(n int) {
	if n == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open -= n
	c.settle()
}

// settle says that nothing is open any more. The lock is held.
func (c *calls) settle() {
	if c.open > 0 || !c.draining() {
		return
	}
	select {
	case <-c.idle:
	default:
		close(c.idle)
	}
}

func (c *calls) draining() bool { return c.ended.Err() != nil }

// drain refuses new calls and waits for the open ones.
func (c *calls) drain(ctx context.Context) error {
	c.mu.Lock()
	c.end()
	c.settle()
	open := c.open
	c.mu.Unlock()
	select {
	case <-c.idle:
		return nil
	case <-ctx.Done():
		return interrex.Errorf(interrex.KindTimeout, "cannot finish the %d calls that were open: %v", open, context.Cause(ctx))
	}
}

func drainingError() error {
	err := interrex.Errorf(interrex.KindDraining, "this agent stops; nothing has happened, try another agent")
	err.RetryAfter = 100 * time.Millisecond
	return err
}
