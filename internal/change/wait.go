package change

import (
	"context"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
)

// MaxWaiting is the maximum number of long polls that wait at one time.
const MaxWaiting = 65_536

// Await is Read, but if no change matches it waits for the first one that does. When
// ctx ends, the page is empty and the error is nil. AtStart is as of the beginning.
//
// Errors: those of Read; ErrOverloaded when MaxWaiting wait already;
// ErrUnavailable once the table is closed.
func (t *Table) Await(ctx context.Context, q Query) (Page, error) {
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
		if p, err = t.Read(q); err != nil {
			return p, err
		}
	}
	p.AtStart = first.AtStart
	return p, nil
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
	if w.subjects != nil { // nothing has woken it
		w.at = t.feed.last + 1
	}
	t.waiting.leave(w)
}

// waiter is one long poll. It is woken when a change has arrived that may match.
type waiter struct {
	ready    chan struct{}     // closed then
	at       interrex.Revision // of the change that woke it, or after all that did not; 0: the feed was replaced
	subjects []subject
}

// subject is what a waiter waits for: changes of a kind (empty: any), all of them, or
// those with a tag, or those with a prefix of the key.
type subject struct {
	kind string
	by   byte // byKind, byTag or byPrefix
	text string
}

const (
	byKind byte = iota
	byTag
	byPrefix
)

// subjects returns what a query waits for. They may be less specific than the query:
// then its waiter is sometimes woken in vain.
func (q *Query) subjects() (all []subject) {
	kinds := q.Kinds
	if len(kinds) == 0 || len(q.Tags) > 0 { // only users' changes have tags
		kinds = []string{""}
	}
	for _, kind := range kinds {
		for _, tag := range q.Tags {
			all = append(all, subject{kind, byTag, tag})
		}
		if len(q.Tags) == 0 && q.Prefix != "" {
			all = append(all, subject{kind, byPrefix, q.Prefix})
		} else if len(q.Tags) == 0 {
			all = append(all, subject{kind: kind})
		}
	}
	return all
}

// waiting has all waiters by their subjects, so that a change without a waiter costs
// a few look-ups, however many wait.
type waiting struct {
	subjects map[subject]map[*waiter]struct{}
	lengths  map[string]map[int]int // number of subjects by kind and length of prefix
	count    int
	closed   bool
}

func newWaiting() waiting {
	return waiting{subjects: map[subject]map[*waiter]struct{}{}, lengths: map[string]map[int]int{}}
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
	me := &waiter{ready: make(chan struct{}), subjects: q.subjects()}
	w.count++
	for _, s := range me.subjects {
		if w.subjects[s] == nil {
			w.subjects[s] = map[*waiter]struct{}{}
			w.measure(s, 1)
		}
		w.subjects[s][me] = struct{}{}
	}
	return me, nil
}

// measure adds by to the count of a prefix's length.
func (w *waiting) measure(s subject, by int) {
	if s.by != byPrefix {
		return
	}
	if w.lengths[s.kind] == nil {
		w.lengths[s.kind] = map[int]int{}
	}
	lengths := w.lengths[s.kind]
	if lengths[len(s.text)] += by; lengths[len(s.text)] == 0 {
		delete(lengths, len(s.text))
	}
	if len(lengths) == 0 {
		delete(w.lengths, s.kind)
	}
}

// leave removes a waiter, which may have been removed already.
func (w *waiting) leave(me *waiter) {
	if me.subjects == nil {
		return
	}
	w.count--
	for _, s := range me.subjects {
		delete(w.subjects[s], me)
		if len(w.subjects[s]) == 0 {
			delete(w.subjects, s)
			w.measure(s, -1)
		}
	}
	me.subjects = nil
}

// wake wakes the waiters that one of the events may match.
func (w *waiting) wake(events []state.Event) {
	for i := 0; i < len(events) && w.count > 0; i++ {
		e := &events[i]
		w.wakeOf(e, e.Kind)
		w.wakeOf(e, "")
	}
}

func (w *waiting) wakeOf(e *state.Event, kind string) {
	w.ring(subject{kind: kind}, e.Revision)
	for _, tag := range tagsOf(e) {
		w.ring(subject{kind, byTag, tag}, e.Revision)
	}
	for n := range w.lengths[kind] {
		if n <= len(e.Key) {
			w.ring(subject{kind, byPrefix, e.Key[:n]}, e.Revision)
		}
	}
}

// ring wakes all waiters of a subject.
func (w *waiting) ring(s subject, at interrex.Revision) {
	for me := range w.subjects[s] {
		w.leave(me)
		me.at = at
		close(me.ready)
	}
}

// wakeAll wakes every waiter.
func (w *waiting) wakeAll() {
	for s := range w.subjects {
		w.ring(s, 0)
	}
}

func (w *waiting) close() {
	w.closed = true
	w.wakeAll()
}
