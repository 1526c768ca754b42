// Package backoff owns the pauses between retries.
package backoff

import (
	"context"
	"math/rand/v2"
	"time"
)

// Doubled returns first, doubled times times, but at most most.
func Doubled(first, most time.Duration, times int) time.Duration {
	for ; times > 0 && first < most; times-- {
		first += min(first, most-first)
	}
	return min(first, most)
}

// Next returns the jittered pause before the next attempt: first, doubled for each
// failure in a row before the last one, but at most most.
func Next(first, most time.Duration, failures int) time.Duration {
	return Jittered(Doubled(first, most, failures))
}

// Jittered returns a random duration from half of d to d, so that callers that
// failed together do not retry together.
func Jittered(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) }

// Pause waits until over fires or ctx ends, and reports whether ctx is still alive.
func Pause(ctx context.Context, over <-chan time.Time) bool {
	select {
	case <-over:
		return true
	case <-ctx.Done():
		return false
	}
}
