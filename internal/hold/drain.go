package hold

import (
	"context"
	"fmt"
	"time"

	"github.com/interrex/interrex/internal/backoff"
)

// sweepEvery bounds the number of holds in Keeper.open that have ended.
const sweepEvery = 64

// drainPeriod is how often Drain checks whether the last lease was released.
const drainPeriod = 10 * time.Millisecond

// Drain ends the context of every hold, refuses new holds, and waits until each
// lease was released by its holder, or has run out, or ctx ends. Holders release
// through this Keeper meanwhile; Close it afterwards.
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
			return fmt.Errorf("%d leases were not released in time, and will expire: %w", left, context.Cause(ctx))
		}
	}
}

// sweep drops the holds that are over, and returns the number of the others. k.mu is
// held.
func (k *Keeper) sweep() int {
	for h := range k.open {
		if h.isGone() || h.left()+h.margin <= 0 {
			delete(k.open, h)
		}
	}
	return len(k.open)
}
