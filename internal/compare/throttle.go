package compare

import (
	"context"
	"time"

	"github.com/juju/clock"
)

// The shares of the time in which a state is hashed.
const (
	workTime  = time.Millisecond      // at least, between two pauses
	restShare = 4                     // pauses are so many times as long as the work before
	longRest  = 20 * time.Millisecond // at most
)

// Throttle returns a step for machine.Frozen.Hashes that rests for most of the time, and ends
// with ctx.
func Throttle(ctx context.Context, c clock.Clock) func() error {
	return (&throttle{ctx: ctx, clock: c, since: c.Now()}).step
}

// throttle leaves the processor to others most of the time, so that hashing delays nothing.
type throttle struct {
	ctx   context.Context
	clock clock.Clock
	since time.Time // when the work went on
}

// step pauses if it is time to. The error is ctx's.
func (t *throttle) step() error {
	worked := t.clock.Now().Sub(t.since)
	if worked < workTime {
		return t.ctx.Err()
	}
	select {
	case <-t.ctx.Done():
		return t.ctx.Err()
	case <-t.clock.After(min(restShare*worked, longRest)):
	}
	t.since = t.clock.Now()
	return nil
}
