package change

import (
	"context"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
)

// MaxWaiting is how many long polls wait at one time.
const MaxWaiting = 65_536

// Await is Read, but that it waits for the first change that matches when there
// is none, until ctx ends: then the page is empty, and no error. AtStart is as of
// the beginning.
//
// Errors: those of Read; KindOverloaded when MaxWaiting wait already;
// KindUnavailable once the table is closed.
func (t *Table) Await(ctx context.Context, q Query) (Page, error) {
	first, err := t.Read(q)
	if err != nil || len(first.Items) > 0 {
		return first, err
	}
	q.waited = true
	p := first
	for over := false; len(p.Items) == 0 && !over; {
		// A since in the future is waited for as it stands.
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
			// What came in between was looked at, and is not missed if it is gone.
			q.Since = max(q.Since, w.at-min(w.at, 1))
		}
		if p, err = t.Read(q); err != nil {
			return p, err
		}
	}
	p.AtStart = first.AtStart
	return p, nil
}

// await joins those who wait; nil: something has come since that is to be read.
func (t *Table) await(q *Query) (*waiter, error) {
	const few = 1000 // that are looked at here, so that nobody has to begin again for ever
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

// Waiting is how many long polls wait now.
func (t *Table) Waiting() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.waiting.count
}

func (t *Table) forget(w *waiter) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if w.subjects != nil { // nothing of what has come was for it
		w.at = t.feed.last + 1
	}
	t.waiting.leave(w)
}

// waiter is one long poll. It is looked at again when something has come that may
// match.
type waiter struct {
	ready    chan struct{}     // closed then
	at       interrex.Revision // of what has come, or behind all that has not; 0: everything was replaced
	subjects []subject
}

// subject is what somebody waits for: a kind (empty: any), and of that all, or
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

// subjects are what a query waits for. Where it asks for more than one of them
// says, it is looked at in vain now and then.
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

// waiting are all who wait, by what they wait for, so that a change that nobody
// wants costs a few look-ups however many wait.
type waiting struct {
	subjects map[subject]map[*waiter]struct{}
	lengths  map[string]map[int]int // of prefixes, by kind, and how many have each
	count    int
	closed   bool
}

func newWaiting() waiting {
	return waiting{subjects: map[subject]map[*waiter]struct{}{}, lengths: map[string]map[int]int{}}
}

func errClosed() error {
	return interrex.Errorf(interrex.KindUnavailable, "changes: the table is closed")
}

func (w *waiting) join(q *Query) (*waiter, error) {
	switch {
	case w.closed:
		return nil, errClosed()
	case w.count >= MaxWaiting:
		return nil, interrex.Errorf(interrex.KindOverloaded, "changes: %d wait here already, which is the most", MaxWaiting)
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

// measure counts the length of a prefix that is waited for, or no longer.
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

// leave takes out one who waits; it may be gone already.
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

// wake lets those look who may want one of the events.
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

// ring lets all go who wait for a subject.
func (w *waiting) ring(s subject, at interrex.Revision) {
	for me := range w.subjects[s] {
		w.leave(me)
		me.at = at
		close(me.ready)
	}
}

// wakeAll lets everybody look.
func (w *waiting) wakeAll() {
	for s := range w.subjects {
		w.ring(s, 0)
	}
}

func (w *waiting) close() {
	w.closed = true
	w.wakeAll()
}
