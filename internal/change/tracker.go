package change

import (
	"context"
	"sync"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/waitlist"
)

// Tracker is a number that only rises, and the waiters for a target. Its methods may
// be called from several goroutines.
type Tracker struct {
	mu     sync.Mutex
	last   interrex.Revision
	list   waitlist.List
	closed bool
}

// NewTracker returns a tracker at 0.
func NewTracker() *Tracker { return &Tracker{} }

// Update raises the number, and wakes the waiters for it or for less. A lower number
// has no effect, and neither has any number after Close.
func (t *Tracker) Update(to interrex.Revision) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || to <= t.last {
		return
	}
	t.last = to
	t.list.Release(uint64(to))
}

// Last returns the current number.
func (t *Tracker) Last() interrex.Revision {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.last
}

// Wait waits until the number is at least target, and returns it. It returns less
// than target if ctx ends before, or the tracker is closed.
func (t *Tracker) Wait(ctx context.Context, target interrex.Revision) interrex.Revision {
	me, last := t.join(target)
	if me == nil {
		return last
	}
	select {
	case <-me.Done:
		return t.Last()
	case <-ctx.Done():
		return t.leave(me)
	}
}

// TimedWait is Wait with a time limit, after which it returns the current number,
// which is less than target.
func (t *Tracker) TimedWait(target interrex.Revision, most time.Duration) interrex.Revision {
	me, last := t.join(target)
	if me == nil {
		return last
	}
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-me.Done:
		return t.Last()
	case <-timer.C:
		return t.leave(me)
	}
}

// join adds a waiter; it returns nil if there is nothing to wait for.
func (t *Tracker) join(target interrex.Revision) (*waitlist.Waiter, interrex.Revision) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || t.last >= target {
		return nil, t.last
	}
	return t.list.Join(uint64(target)), t.last
}

func (t *Tracker) leave(me *waitlist.Waiter) interrex.Revision {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.list.Leave(me)
	return t.last
}

// Close ends all waits, and those that begin later, with the last number. It may be
// called again.
func (t *Tracker) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	t.list.Fail(nil)
}

// MaxTrackers is the maximum number of trackers in a Trackers.
const MaxTrackers = 4096

// Trackers are the trackers of one agent by name. The zero value is empty.
type Trackers struct {
	mu  sync.Mutex
	all map[string]*Tracker
}

// Named returns the tracker of a name, and creates it if there is none, or it is
// closed. The error is ErrOverloaded if MaxTrackers are open.
func (t *Trackers) Named(name string) (*Tracker, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if old := t.all[name]; old != nil && !old.isClosed() {
		return old, nil
	}
	if len(t.all) >= MaxTrackers {
		t.forgetClosed()
	}
	if len(t.all) >= MaxTrackers {
		return nil, interrex.Errorf(interrex.ErrOverloaded, "tracker %q: there are %d already, which is the limit: close some", name, MaxTrackers)
	}
	if t.all == nil {
		t.all = map[string]*Tracker{}
	}
	t.all[name] = NewTracker()
	return t.all[name], nil
}

func (t *Trackers) forgetClosed() {
	for name, tracker := range t.all {
		if tracker.isClosed() {
			delete(t.all, name)
		}
	}
}

func (t *Tracker) isClosed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.closed
}
