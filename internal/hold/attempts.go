package hold

import (
	"context"
	"sync"
	"time"
)

// Attempts of one request may overlap: an agent that hangs must not keep its
// caller from asking another way. More than this many are of no use; the
// oldest is then cancelled.
const (
	maxOverlap = 4
	maxUnheard = 2 * maxOverlap
)

// attempt is one attempt, and its answer once it is heard.
type attempt[A any] struct {
	number uint32
	sent   time.Duration
	answer A
	err    error
}

// attempts makes the attempts of one request, each in a goroutine of its own.
// Its methods are called from one goroutine.
type attempts[A any] struct {
	clock   Clock
	heard   chan attempt[A] // room for all: a goroutine never waits here
	next    uint32
	unheard int
	live    []context.CancelFunc // the newest, oldest first
	running sync.WaitGroup
}

func newAttempts[A any](c Clock) *attempts[A] {
	return &attempts[A]{clock: c, heard: make(chan attempt[A], maxUnheard)}
}

// send makes the next attempt and returns its number and its send time. It makes
// none, and says so, while too many calls have not returned.
func (a *attempts[A]) send(ctx context.Context, call func(ctx context.Context, number uint32) (A, error)) (attempt[A], bool) {
	sent := a.clock.Now() // before anything else: the deadline counts from here
	if a.unheard == maxUnheard {
		return attempt[A]{}, false
	}
	if len(a.live) == maxOverlap {
		a.live[0]()
		a.live = a.live[1:]
	}
	ctx, cancel := context.WithCancel(ctx)
	t := attempt[A]{number: a.next, sent: sent}
	a.next++
	a.unheard++
	a.live = append(a.live, cancel)
	a.running.Go(func() {
		defer cancel()
		r := t
		r.answer, r.err = call(ctx, t.number)
		a.heard <- r
	})
	return t, true
}

// take notes that an answer was received from heard.
func (a *attempts[A]) take() { a.unheard-- }

// newest reports whether no attempt was sent after this one.
func (a *attempts[A]) newest(t attempt[A]) bool { return t.number+1 == a.next }

// close cancels what is under way, waits for it, and returns what it answered.
func (a *attempts[A]) close() []attempt[A] {
	for _, cancel := range a.live {
		cancel()
	}
	a.running.Wait()
	var late []attempt[A]
	for ; a.unheard > 0; a.unheard-- {
		late = append(late, <-a.heard)
	}
	return late
}
