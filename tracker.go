package interrex

import (
	"context"
	"time"
)

// Tracker is a number that only increases, and that any number of goroutines can
// wait for.
type Tracker interface {
	// Update raises the number, and wakes the goroutines that wait for it or for
	// less. A lower number has no effect, and after Close none has.
	Update(to Revision)
	// Last returns the current number.
	Last() Revision
	// Wait waits until the number is target or more, and returns it. It returns less
	// than target if ctx ends first, or the tracker is closed.
	Wait(ctx context.Context, target Revision) Revision
	// TimedWait is Wait with a time limit, after which it returns the current
	// number, which is less than target.
	TimedWait(target Revision, limit time.Duration) Revision
	// Close wakes all waiters, now and later, with the last number. It may be called
	// again.
	Close()
}
