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

// Pace returns a step for state.Frozen.Hashes that rests for most of the time, and ends
// with ctx.
func Pace(ctx context.Context, c clock.Clock) func() error {
	return (&pace{ctx: ctx, clock: c, since: c.Now()}).step
}

// pace leaves the processor to others most of the time, so that hashing delays nothing.
type pace struct {
	ctx   context.Context
	clock clock.Clock
	since time.Time // when the work went on
}

// step pauses if it is time to. The error is ctx's.
func (p *pace) step() error {
	worked := p.clock.Now().Sub(p.since)
	if worked < workTime {
		return p.ctx.Err()
	}
	select {
	case <-p.ctx.Done():
		return p.ctx.Err()
	case <-p.clock.After(min(restShare*worked, longRest)):
	}
	p.since = p.clock.Now()
	return nil
}
