package hookcaller

import (
	"fmt"
	"sync"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/wording"
)

// A breaker opens after openAfter consecutive failures. After a pause, which doubles
// with each failure, it lets one trial call through.
const (
	openAfter = 5
	minOpen   = time.Second
	maxOpen   = time.Minute
)

// The states of a breaker: the hook is called, or is not called, or one trial call is
// made.
const (
	Closed   = "closed"
	Open     = "open"
	HalfOpen = "half-open"
)

// breaker counts the failures of one hook.
type breaker struct {
	revision interrex.Revision // of the hook
	calls    int               // before operations, in flight; the Caller's lock guards it

	mu       sync.Mutex
	failures int // in a row
	err      string
	since    time.Time // the first of them
	pause    time.Duration
	until    time.Time // open until then
	trying   bool      // a trial call is in flight
}

// enter reports whether a call may be made. If so, left or abandoned must follow.
func (b *breaker) enter(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failures < openAfter {
		return true
	}
	if b.trying || now.Before(b.until) {
		return false
	}
	b.trying = true
	return true
}

// left records the outcome of a call, and reports whether that opened or closed the
// breaker.
func (b *breaker) left(now time.Time, problem string) (opened, closed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.trying = false
	if problem == "" {
		closed = b.failures >= openAfter
		b.failures, b.err, b.since, b.pause, b.until = 0, "", time.Time{}, 0, time.Time{}
		return false, closed
	}
	if b.failures == 0 {
		b.since = now
	}
	b.failures++
	b.err = problem
	if b.failures < openAfter {
		return false, false
	}
	b.pause = min(max(2*b.pause, minOpen), maxOpen)
	b.until = now.Add(b.pause)
	return b.failures == openAfter, false
}

// abandoned undoes an enter whose call was not made.
func (b *breaker) abandoned() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.trying = false
}

// why returns why the hook is not called.
func (b *breaker) why(now time.Time) string {
	h := b.health(now)
	return fmt.Sprintf("it is not called after %s, the last: %s", wording.Count(h.Failures, "consecutive failure"), h.Error)
}

func (b *breaker) health(now time.Time) interrex.WebhookHealth {
	b.mu.Lock()
	defer b.mu.Unlock()
	h := interrex.WebhookHealth{Breaker: Closed, Failures: b.failures, Error: b.err, Since: b.since}
	switch {
	case b.failures < openAfter:
	case b.trying || !now.Before(b.until):
		h.Breaker = HalfOpen
	default:
		h.Breaker = Open
	}
	return h
}
