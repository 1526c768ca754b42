// Package backoff owns the pause between an attempt that failed and the next.
package backoff

import (
	"context"
	"math/rand/v2"
	"time"
)

// Doubled returns first, doubled so many times, and at most most.
func Doubled(first, most time.Duration, times int) time.Duration {
	for ; times > 0 && first < most; times-- {
		first += min(first, most-first)
	}
	return min(first, most)
}

// Next returns the pause before the next attempt: Doubled, with the failures before
// the last one, and Jittered.
func Next(first, most time.Duration, failures int) time.Duration {
	return Jittered(Doubled(first, most, failures))
}

// Jittered returns a random time from half of d to d, so that those who failed
// together do not try again together.
func Jittered(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) }

// Pause waits until over fires, and reports whether ctx is alive then: it returns
// when ctx ends, too.
func Pause(ctx context.Context, over <-chan time.Time) bool {
	select {
	case <-over:
		return true
	case <-ctx.Done():
		return false
	}
}
