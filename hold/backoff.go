package hold

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/interrex/interrex"
)

// Margin is how long before its deadline a holder is told to stop: 10 % of the
// ttl, at least 50 ms, at most half of the ttl. The work must have ended half
// of it later; the other half is for clocks that run at other rates.
func Margin(ttl time.Duration) time.Duration {
	return min(max(ttl/10, 50*time.Millisecond), ttl/2)
}

// jitter returns a random time from half of d to d.
func jitter(d time.Duration) time.Duration {
	return d/2 + rand.N(d/2+1)
}

// backoff is 0.1 s, doubled with each failure up to limit, and jittered.
func backoff(failures int, limit time.Duration) time.Duration {
	return jitter(min(limit, 100*time.Millisecond<<min(failures, 10)))
}

// retryAfter is what err asks its caller to wait, 0 when it does not say.
func retryAfter(err error) time.Duration {
	var e *interrex.Error
	if errors.As(err, &e) {
		return e.RetryAfter
	}
	return 0
}

// sleep waits for d, and reports whether ctx lives.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
