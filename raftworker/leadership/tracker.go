// Package leadership owns the knowledge of who leads the cluster: the Tracker
// that is told and asked, and the flag whose life is one term.
package leadership

import (
	"context"
	"sync"

	"github.com/interrex/interrex"
)

// Tracker keeps who leads. It is a plain object that lives as long as the
// agent and outlives every restart of raft; its zero value knows of no leader
// and is ready for use. Nothing in it blocks but Watch.Next.
type Tracker struct {
	mu      sync.Mutex
	current interrex.Leadership
	version uint64
	changed chan struct{} // closed with the next change; nil: nobody waits
}

// Set takes what is known now. The term only grows: what carries a lower term
// than the present one is older news, and is dropped.
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

// Lost says that this agent no longer takes part: it leads nothing and knows
// of no leader. The term stays.
func (t *Tracker) Lost() {
	t.Set(interrex.Leadership{Term: t.Current().Term})
}

// Current returns what is known now.
func (t *Tracker) Current() interrex.Leadership {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.current
}

// Watch begins a watch. It costs nothing while nobody calls its Next, and
// needs no closing.
func (t *Tracker) Watch() *Watch { return &Watch{tracker: t, first: true} }

// Watch follows one Tracker. It is for one goroutine.
type Watch struct {
	tracker *Tracker
	first   bool
	seen    uint64
}

// Next returns the present at its first call, and after that waits for a
// change. Changes that nobody asked for in between are one: only the newest is
// given. The error is ctx's.
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

// poll returns what has not been seen, or a channel to wait on.
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
