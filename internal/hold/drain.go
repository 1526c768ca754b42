package hold

import (
	"context"
	"fmt"
	"time"

	"github.com/interrex/interrex/internal/backoff"
)

// sweepEvery bounds how many holds are remembered after their end.
const sweepEvery = 64

// drainPeriod is how often Drain looks whether the last lease was given up.
const drainPeriod = 10 * time.Millisecond

// Drain ends the context of every hold, begins no other, and waits until each
// lease was given up by its holder, or has run out, or ctx ends. Leases go on
// to be released through this Keeper meanwhile; Close it after.
func (k *Keeper) Drain(ctx context.Context) error {
	k.mu.Lock()
	k.end()
	k.mu.Unlock()
	for {
		k.mu.Lock()
		left := k.sweep()
		k.mu.Unlock()
		if left == 0 {
			return nil
		}
		if !backoff.Pause(ctx, time.After(drainPeriod)) {
			return fmt.Errorf("%d leases were not released in time, they run out by themselves: %w", left, context.Cause(ctx))
		}
	}
}

// sweep forgets the holds that are over, and counts the others. k.mu is held.
func (k *Keeper) sweep() int {
	for h := range k.open {
		if h.isGone() || h.left()+h.margin <= 0 {
			delete(k.open, h)
		}
	}
	return len(k.open)
}
