package watch

import (
	"context"
	"sync"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
)

// batch bounds what one Next gives. It gives more only where a single
// revision has more events.
const batch = 256

// Watcher reads a ring from one position on. Next is called by one goroutine
// at a time; Close by any.
type Watcher struct {
	ring  *Ring
	match func(*state.Event) bool
	era   uint64
	at    interrex.Revision // everything up to here has been looked at

	closing sync.Once
	done    chan struct{}
}

// Watch reads what is published behind the revision since, which may lie in
// the future, as far as it matches (nil: all). The watcher's own goroutine
// calls match; the event that it gets is not to be written to.
//
// Errors: KindCompacted, with the FirstRevision that can still be asked for,
// when what follows since is not kept any more; KindOverloaded when there are
// too many watchers; KindWatchClosed when the ring is closed.
func (r *Ring) Watch(since interrex.Revision, match func(*state.Event) bool) (*Watcher, error) {
	era, err := r.enter(since)
	if err != nil {
		return nil, err
	}
	return &Watcher{ring: r, match: match, era: era, at: since, done: make(chan struct{})}, nil
}

// Next blocks until events are there that match, and returns them in the order
// of their revisions, all events of a revision together. They are shared with
// other watchers: nobody writes to them.
//
// Errors: KindCompacted when this watcher has fallen behind the ring;
// KindWatchClosed after a Reset, or a Close of the watcher or the ring; the
// cause of ctx. But for the last, each is final: watch anew, after a list.
func (w *Watcher) Next(ctx context.Context) ([]state.Event, error) {
	for {
		events, alarm, err := w.look()
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

// Position is the revision up to which the watcher has looked: a watch since
// there goes on where this one is. It is for the goroutine that calls Next.
func (w *Watcher) Position() interrex.Revision { return w.at }

// Close ends the watcher, and a Next that waits. It may be called again.
func (w *Watcher) Close() {
	w.closing.Do(func() {
		close(w.done)
		w.ring.leave()
	})
}

// look returns the events that follow the watcher's position, or else the alarm
// to wait for.
func (w *Watcher) look() ([]state.Event, <-chan struct{}, error) {
	select {
	case <-w.done:
		return nil, nil, closedError()
	default:
	}
	e, alarm, err := w.ring.look(w.era, w.at)
	return e.events, alarm, err
}

// take moves the position over events, up to a full batch, and returns those
// that match: without a copy, as long as they stand side by side.
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
			found = append(found, *e) // it has no room: the first append copies
		} else {
			found = events[first : i+1 : i+1]
		}
	}
	return found
}
