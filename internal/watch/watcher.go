package watch

import (
	"context"
	"sync"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
)

// batch bounds what one Next returns, unless a single revision has more events.
const batch = 256

// Watcher reads a ring from one position on. Next must be called by one goroutine at
// a time; Close by any.
type Watcher struct {
	ring  *Ring
	match func(*state.Event) bool
	era   uint64
	at    interrex.Revision // everything up to here has been read

	closing sync.Once
	done    chan struct{}
}

// Watch returns a watcher of the events after the revision since, which may be in the
// future, for which match returns true (nil: all). The goroutine that calls Next
// calls match, which must not modify the event.
//
// Errors: ErrCompacted, with the FirstRevision to request, if what follows since is
// no longer kept; ErrOverloaded if there are too many watchers; ErrWatchClosed if
// the ring is closed.
func (r *Ring) Watch(since interrex.Revision, match func(*state.Event) bool) (*Watcher, error) {
	era, err := r.enter(since)
	if err != nil {
		return nil, err
	}
	return &Watcher{ring: r, match: match, era: era, at: since, done: make(chan struct{})}, nil
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
func (w *Watcher) Position() interrex.Revision { return w.at }

// Close ends the watcher, and a Next that waits. It may be called again.
func (w *Watcher) Close() {
	w.closing.Do(func() {
		close(w.done)
		w.ring.leave()
	})
}

// read returns the events after the watcher's position, or the alarm to wait for.
func (w *Watcher) read() ([]state.Event, <-chan struct{}, error) {
	select {
	case <-w.done:
		return nil, nil, closedError()
	default:
	}
	e, alarm, err := w.ring.read(w.era, w.at)
	return e.events, alarm, err
}

// take moves the position over events, up to a full batch, and returns those that
// match, without a copy if they are adjacent.
func (w *Watcher) take(events []state.Event) (found []state.Event) {
	first, copied := 0, false
	for i := range events {
		e := &events[i]
		if len(found) >= batch && e.Revision != w.at {
			return found
		}
		w.at = e.Revision
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
