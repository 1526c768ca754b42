// Package leadership owns the knowledge of who leads the cluster: the Tracker that
// holds it, and a flag worker that lives for one term.
package leadership

import (
	"context"
	"sync"

	"github.com/interrex/interrex"
)

// Tracker holds who leads. It lives as long as the agent and outlives every
// restart of raft; its zero value knows of no leader and is ready for use. Only
// Watch.Next blocks.
type Tracker struct {
	mu      sync.Mutex
	current interrex.Leadership
	version uint64
	changed chan struct{} // closed at the next change; nil: there is no waiter
}

// Set replaces what is known. The term only grows: a leadership with a lower term
// than the present one is out of date and is dropped.
func (t *Tracker) Set(l interrex.Leadership) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l.Term < t.current.Term || l == t.current {
		return
	}
	t.current = l
	t.version++
	if t.changed != nil {
		close(t.changed)
		t.changed = nil
	}
}

// Lost records that this agent's raft has stopped: it does not lead and knows of
// no leader. The term stays.
func (t *Tracker) Lost() {
	t.Set(interrex.Leadership{Term: t.Current().Term})
}

// Current returns what is known now.
func (t *Tracker) Current() interrex.Leadership {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.current
}

// Watch begins a watch. It costs nothing between calls of Next, and need not be
// closed.
func (t *Tracker) Watch() *Watch { return &Watch{tracker: t, first: true} }

// Watch follows one Tracker. It is for one goroutine.
type Watch struct {
	tracker *Tracker
	first   bool
	seen    uint64
}

// Next returns the present leadership at its first call, and after that waits for
// a change. Of several changes between two calls only the newest is returned. The
// error is ctx's.
func (w *Watch) Next(ctx context.Context) (interrex.Leadership, error) {
	for {
		l, changed := w.poll()
		if changed == nil {
			return l, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return interrex.Leadership{}, ctx.Err()
		}
	}
}

// poll returns a leadership that has not been seen, or a channel to wait on.
func (w *Watch) poll() (interrex.Leadership, <-chan struct{}) {
	t := w.tracker
	t.mu.Lock()
	defer t.mu.Unlock()
	if w.first || w.seen != t.version {
		w.first, w.seen = false, t.version
		return t.current, nil
	}
	if t.changed == nil {
		t.changed = make(chan struct{})
	}
	return interrex.Leadership{}, t.changed
}
