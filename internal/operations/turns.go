package operations

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/juju/clock"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/fifo"
)

// turns lets a few long reads, such as lists, be evaluated at a time, so that they leave
// processors for everything else. Callers take turns, by their shares. While some wait, a
// turn is followed by a pause as long as itself: on a busy machine reads take longer, and
// their pauses too.
type turns struct {
	clock clock.Clock

	mu      sync.Mutex
	free    int // how many more may begin; nobody waits while there are any
	waiting map[string]*fifo.Queue[chan struct{}]
	shares  fifo.Queue[string] // of those that wait, each once; the first is next
}

func newTurns(n int, now clock.Clock) *turns {
	return &turns{clock: now, free: n, waiting: map[string]*fifo.Queue[chan struct{}]{}}
}

// turnWait bounds the wait for a turn, and turnPause the pause after one.
const (
	turnWait  = 10 * time.Second
	turnPause = 100 * time.Millisecond
)

// take waits for a turn, which give ends. The error is ErrOverloaded if none comes in
// time.
func (t *turns) take(ctx context.Context, share string) error {
	turn := t.wait(share)
	if turn == nil {
		return nil
	}
	bounded, cancel := context.WithTimeout(ctx, turnWait)
	defer cancel()
	select {
	case <-turn:
		return nil
	case <-bounded.Done():
	}
	if !t.leave(share, turn) {
		t.pass() // it has just come
	}
	if cause := context.Cause(bounded); !errors.Is(cause, context.DeadlineExceeded) {
		return cause
	}
	err := interrex.Errorf(interrex.ErrOverloaded, "this agent has more lists to make than it can in time: try again, or another agent")
	err.RetryAfter = time.Second
	return err
}

// wait returns a channel that is closed when a turn has come; nil: it has already.
func (t *turns) wait(share string) chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.free > 0 {
		t.free--
		return nil
	}
	all := t.waiting[share]
	if all == nil {
		all = &fifo.Queue[chan struct{}]{}
		t.waiting[share] = all
		t.shares.Push(share)
	}
	turn := make(chan struct{})
	all.Push(turn)
	return turn
}

// leave reports whether turn was still waiting.
func (t *turns) leave(share string, turn chan struct{}) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := t.waiting[share]
	if all == nil {
		return false
	}
	before := all.Len()
	all.Keep(func(w chan struct{}) bool { return w != turn })
	left := all.Len() < before
	if all.Len() == 0 {
		delete(t.waiting, share)
		t.shares.Keep(func(s string) bool { return s != share })
	}
	return left
}

// give ends a turn that took so long. The next begins after a pause.
func (t *turns) give(took time.Duration) {
	if t.waited() {
		t.clock.AfterFunc(min(took, turnPause), t.pass)
		return
	}
	t.pass()
}

// waited reports whether a caller waits for a turn.
func (t *turns) waited() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.shares.Len() > 0
}

// pass begins the next turn.
func (t *turns) pass() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.shares.Len() == 0 {
		t.free++
		return
	}
	share := t.shares.Pop()
	all := t.waiting[share]
	close(all.Pop())
	if all.Len() > 0 {
		t.shares.Push(share)
	} else {
		delete(t.waiting, share)
	}
}
