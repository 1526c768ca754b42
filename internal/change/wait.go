package change

import (
	"context"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/interest"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/state"
)

// MaxWaiting is the maximum number of long polls that wait at one time.
const MaxWaiting = 65_536

// Await is Read, but if no change matches it waits for the first one that does. When
// ctx ends, the page is empty and the error is nil. AtStart is as of the beginning.
//
// Errors: those of Read; ErrCompacted when a restore replaces the feed; ErrOverloaded when MaxWaiting wait already;
// ErrUnavailable once the table is closed.
func (t *Table) Await(ctx context.Context, q Query) (Page, error) {
	since, ended := q.Since, t.ended()
	first, err := t.Read(q)
	if err != nil || len(first.Items) > 0 {
		return first, err
	}
	q.waited = true
	p := first
	for over := false; len(p.Items) == 0 && !over; {
		// A since in the future is waited for unchanged.
		q.Since = max(q.Since, p.Revision)
		w, err := t.await(&q)
		if err != nil {
			return p, err
		}
		if w != nil {
			select {
			case <-w.ready:
			case <-ctx.Done():
				t.forget(w)
				over = true
			}
			// The changes in between were searched, and may be dropped.
			q.Since = max(q.Since, w.at-min(w.at, 1))
		}
		p, err = t.Read(q)
		if now := t.ended(); now != ended {
			return p, machine.RestoredFile{To: now}.Continues(max(1, since))
		}
		if err != nil {
			return p, err
		}
	}
	p.AtStart = first.AtStart
	return p, nil
}

// ended returns the newest restore since this agent started.
func (t *Table) ended() interrex.Revision {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.feed.ended
}

// await adds a waiter; nil if there are changes to read first.
func (t *Table) await(q *Query) (*waiter, error) {
	const few = 1000 // that are searched here; with more the read begins again
	t.mu.Lock()
	defer t.mu.Unlock()
	if q.Since < t.feed.floor && q.Since < t.feed.last {
		return nil, nil
	}
	looked, found := 0, false
	v := t.feed.view()
	v.forward(v.after(q.Since), func(e *state.Event) bool {
		looked++
		found = looked > few || q.Matches(e)
		return !found
	})
	if found {
		return nil, nil
	}
	return t.waiting.join(q)
}

// Waiting returns the number of long polls that wait.
func (t *Table) Waiting() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.waiting.count
}

func (t *Table) forget(w *waiter) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if w.entry != nil { // nothing has woken it
		w.at = t.feed.last + 1
	}
	t.waiting.leave(w)
}

// waiter is one long poll. It is woken when a change has arrived that may match.
type waiter struct {
	ready chan struct{}     // closed then
	at    interrex.Revision // of the change that woke it, or after all that did not; 0: the feed was replaced
	entry *interest.Entry   // nil once something has woken it
}

// waiting has all waiters, so that a change without a waiter costs a few look-ups,
// however many wait.
type waiting struct {
	waiters interest.Index[*waiter]
	count   int
	closed  bool
}

func errClosed() error {
	return interrex.Errorf(interrex.ErrUnavailable, "changes: the table is closed")
}

func (w *waiting) join(q *Query) (*waiter, error) {
	switch {
	case w.closed:
		return nil, errClosed()
	case w.count >= MaxWaiting:
		return nil, interrex.Errorf(interrex.ErrOverloaded, "changes: %d wait here already, which is the limit", MaxWaiting)
	}
	me := &waiter{ready: make(chan struct{})}
	me.entry = w.waiters.Add(q.Scope(), me)
	w.count++
	return me, nil
}

// leave removes a waiter, which may have been removed already.
func (w *waiting) leave(me *waiter) {
	if me.entry == nil {
		return
	}
	w.count--
	w.waiters.Remove(me.entry)
	me.entry = nil
}

// wake wakes the waiters that one of the events may match.
func (w *waiting) wake(events []state.Event) {
	for i := 0; i < len(events) && w.count > 0; i++ {
		e := &events[i]
		var woken []*waiter
		w.waiters.Each(interest.Mark(uint16(e.Table), e.Kind, e.Key, e.Value), func(me *waiter) { woken = append(woken, me) })
		w.ring(woken, e.Revision)
	}
}

// ring wakes waiters, some of which may have been woken already.
func (w *waiting) ring(woken []*waiter, at interrex.Revision) {
	for _, me := range woken {
		if me.entry == nil {
			continue
		}
		w.leave(me)
		me.at = at
		close(me.ready)
	}
}

// wakeAll wakes every waiter.
func (w *waiting) wakeAll() { w.ring(w.waiters.All(), 0) }

func (w *waiting) close() {
	w.closed = true
	w.wakeAll()
}
