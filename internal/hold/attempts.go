package hold

import (
	"context"
	"sync"
	"time"
)

// Attempts of one request may overlap, so that an agent that hangs does not stop
// its caller from trying another one. Beyond maxOverlap the oldest is cancelled.
const (
	maxOverlap = 4
	maxPending = 2 * maxOverlap
)

// attempt is one attempt, and its answer once it has been received.
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
	answers chan attempt[A] // has room for all: sending never blocks
	next    uint32
	pending int
	live    []context.CancelFunc // the newest, oldest first
	running sync.WaitGroup
}

func newAttempts[A any](c Clock) *attempts[A] {
	return &attempts[A]{clock: c, answers: make(chan attempt[A], maxPending)}
}

// send makes the next attempt and returns its number and its send time. It returns
// false, and makes none, while too many calls have not returned.
func (a *attempts[A]) send(ctx context.Context, call func(ctx context.Context, number uint32) (A, error)) (attempt[A], bool) {
	sent := a.clock.Now() // before anything else: the deadline counts from here
	if a.pending == maxPending {
		return attempt[A]{}, false
	}
	if len(a.live) == maxOverlap {
		a.live[0]()
		a.live = a.live[1:]
	}
	ctx, cancel := context.WithCancel(ctx)
	t := attempt[A]{number: a.next, sent: sent}
	a.next++
	a.pending++
	a.live = append(a.live, cancel)
	a.running.Go(func() {
		defer cancel()
		r := t
		r.answer, r.err = call(ctx, t.number)
		a.answers <- r
	})
	return t, true
}

// take counts an answer that was received from answers.
func (a *attempts[A]) take() { a.pending-- }

// newest reports whether no attempt was sent after this one.
func (a *attempts[A]) newest(t attempt[A]) bool { return t.number+1 == a.next }

// close cancels the attempts in flight, waits for them, and returns their answers.
func (a *attempts[A]) close() []attempt[A] {
	for _, cancel := range a.live {
		cancel()
	}
	a.running.Wait()
	var late []attempt[A]
	for ; a.pending > 0; a.pending-- {
		late = append(late, <-a.answers)
	}
	return late
}
