package watch

import (
	"context"
	"sync"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/interest"
	"github.com/interrex/interrex/state"
)

// batch bounds what one Next returns, unless a single revision has more events.
const batch = 256

// Watcher reads a ring from one position on. Next must be called by one goroutine at
// a time; Close by any.
type Watcher struct {
	cursor *Cursor // only Next uses it, until it is closed
	match  func(*state.Event) bool

	closing sync.Once
	done    chan struct{}
}

// Watch returns a watcher of the events after the revision since, which may be in the
// future, for which match returns true (nil: all). The goroutine that calls Next calls
// match, which must not modify the event. It must be false for all events outside of the
// scope, which cost nothing while the watcher waits.
//
// Errors: ErrCompacted, with the FirstRevision to request, if what follows since is
// no longer kept; ErrOverloaded if there are too many watchers; ErrWatchClosed if
// the ring is closed.
func (r *Ring) Watch(since interrex.Revision, s interest.Scope, match func(*state.Event) bool) (*Watcher, error) {
	c, err := r.enter(since, s, true, true)
	if err != nil {
		return nil, err
	}
	return &Watcher{cursor: c, match: match, done: make(chan struct{})}, nil
}

// Next blocks until there are events that match, and returns them in the order of
// their revisions, all events of a revision together. They are shared with other
// watchers: do not modify them.
//
// Errors: ErrCompacted if this watcher has fallen behind the ring;
// ErrWatchClosed after a Reset, or a Close of the watcher or the ring; the cause of
// ctx. All but the last are final: list again, then watch again.
func (w *Watcher) Next(ctx context.Context) ([]state.Event, error) {
	for {
		events, alarm, err := w.read()
		if err != nil {
			return nil, err
		}
		if found := w.take(events); len(found) > 0 {
			return found, nil
		}
		if len(events) > 0 {
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			continue
		}
		select {
		case <-alarm:
		case <-w.done:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// Position returns the revision up to which the watcher has read: a watch since that
// continues where this one is. It is for the goroutine that calls Next.
func (w *Watcher) Position() interrex.Revision { return w.cursor.Position() }

// Close ends the watcher, and a Next that waits. It may be called again.
func (w *Watcher) Close() {
	w.closing.Do(func() {
		close(w.done)
		w.cursor.release()
	})
}

// read returns the events after the watcher's position, or the alarm to wait for.
func (w *Watcher) read() ([]state.Event, <-chan struct{}, error) {
	select {
	case <-w.done:
		return nil, nil, closedError()
	default:
	}
	e, alarm, err := w.cursor.Read()
	return e.events, alarm, err
}

// take moves the position over events, up to a full batch, and returns those that
// match, without a copy if they are adjacent.
func (w *Watcher) take(events []state.Event) (found []state.Event) {
	first, copied := 0, false
	for i := range events {
		e := &events[i]
		if len(found) >= batch && e.Revision != w.cursor.at {
			return found
		}
		w.cursor.Move(e.Revision)
		if w.match != nil && !w.match(e) {
			continue
		}
		if len(found) == 0 {
			first = i
		}
		if copied = copied || first+len(found) < i; copied {
			found = append(found, *e) // found has no capacity left: the first append copies
		} else {
			found = events[first : i+1 : i+1]
		}
	}
	return found
}
