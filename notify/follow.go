package notify

import (
	"context"
	"errors"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/backoff"
	"github.com/interrex/interrex/internal/watch"
	"github.com/interrex/interrex/projection"
	"github.com/interrex/interrex/state"
)

// identityPoll is how often a worker without a cluster checks for one. An event wakes
// it earlier.
const identityPoll = time.Second

// gathered is the maximum number of events that are sent together, except those of one
// batch. The ring keeps four times as many by default.
const gathered = 16_384

// After a notification or a comparison the worker rests restFor times as long as that
// took, at most maxRest: so it takes at most a twentieth of one processor, or of the
// disk. Under load, events are sent less often and more of them together, and a target
// that cannot follow is compared from time to time.
const (
	restFor = 19
	maxRest = 20 * time.Second
)

// errMoved means that the target's position has changed: its database was moved
// away, or lost its tables.
var errMoved = errors.New("the target's position has changed")

// errBehind means to retry: the state was replaced meanwhile.
var errBehind = errors.New("the state is being restored")

// follow reads the target's position and sends the events after it. nil means to call
// it again at once: the history was replaced, or the target's position has changed.
func (w *Worker) follow(ctx context.Context) error {
	history, err := w.awaitHistory(ctx)
	if err != nil {
		return err
	}
	stored, err := w.position(ctx)
	if err != nil {
		return err
	}
	if stored.History != history || stored.Unproved {
		if stored, err = w.mend(ctx, stored, history); err != nil {
			return err
		}
	}
	began := w.config.Clock.Now()
	watcher, err := w.config.Source.Watch(stored.Revision, scope(), concerns)
	behind := errors.Is(err, interrex.ErrCompacted)
	if behind {
		if stored, err = w.mend(ctx, stored, history); err != nil {
			return err
		}
		watcher, err = w.config.Source.Watch(stored.Revision, scope(), concerns)
		if errors.Is(err, interrex.ErrCompacted) {
			w.rest(ctx, began)
			return nil
		}
	}
	if err != nil {
		return err
	}
	defer watcher.Close()
	if behind {
		w.rest(ctx, began)
	}
	return w.sendAll(ctx, watcher, stored)
}

// sendAll sends batches to the target, which is at a position, until something fails.
func (w *Worker) sendAll(ctx context.Context, watcher *watch.Watcher, at projection.Position) error {
	for {
		// A restore before the watch began has not closed it.
		if w.history() != at.History {
			return nil
		}
		began := w.config.Clock.Now()
		events, err := w.gather(watcher, nil)
		if err == nil && len(events) == 0 {
			events, err = w.next(ctx, watcher, at)
			began = w.config.Clock.Now()
			w.status.knows(began)
		}
		if kind := interrex.KindOf(err); kind == interrex.ErrCompacted || kind == interrex.ErrWatchClosed || errors.Is(err, errMoved) {
			return nil
		}
		if err != nil {
			return err
		}
		if w.history() != at.History {
			return nil
		}
		w.status.enter(phaseTelling)
		at.Revision = watcher.Position()
		if err := w.notify(ctx, at, events); err != nil {
			return err
		}
		w.status.knows(began)
		w.rest(ctx, began)
	}
}

// gather appends the events that follow and are available now.
func (w *Worker) gather(watcher *watch.Watcher, events []state.Event) ([]state.Event, error) {
	now, cancel := context.WithCancel(context.Background())
	cancel()
	for len(events) < gathered {
		more, err := watcher.Next(now)
		if errors.Is(err, context.Canceled) {
			break
		}
		if err != nil {
			return nil, err
		}
		events = append(events, more...) // events has no capacity left: the first append copies
	}
	return events, nil
}

// next waits for events. Meanwhile it checks regularly whether the target is still at
// its position, or beyond it: another worker may notify it too.
func (w *Worker) next(ctx context.Context, watcher *watch.Watcher, at projection.Position) ([]state.Event, error) {
	w.reached(at)
	for {
		w.status.enter(phaseIdle)
		lookCtx, cancel := context.WithTimeout(ctx, w.config.Look)
		events, err := watcher.Next(lookCtx)
		cancel()
		if err == nil {
			return w.gather(watcher, events)
		}
		if !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
			return nil, err
		}
		stored, err := w.position(ctx)
		if err != nil {
			return nil, err
		}
		if stored.History != at.History || stored.Revision < at.Revision || stored.Unproved {
			return nil, errMoved
		}
	}
}

// rest lets events accumulate, after work that began at a time.
func (w *Worker) rest(ctx context.Context, began time.Time) {
	w.status.enter(phaseResting)
	took := w.config.Clock.Now().Sub(began)
	backoff.Pause(ctx, w.config.Clock.After(max(w.config.Pause, min(restFor*took, maxRest))))
}

func (w *Worker) notify(ctx context.Context, to projection.Position, events []state.Event) error {
	ctx, cancel := context.WithTimeout(ctx, w.config.NotifyTimeout)
	defer cancel()
	if err := w.config.Target.Notify(ctx, to, func(t NotifyTarget) error { return tell(t, events) }); err != nil {
		return err
	}
	w.reached(to)
	return nil
}

func (w *Worker) position(ctx context.Context) (projection.Position, error) {
	ctx, cancel := context.WithTimeout(ctx, w.config.NotifyTimeout)
	defer cancel()
	p, err := w.config.Target.Position(ctx)
	if err == nil {
		w.status.reach(p)
	}
	return p, err
}

// mend brings the target, which is at a position, in step with all existing leases, and
// returns the position from which to continue. The revision is read before the list:
// what happens in between is sent again.
func (w *Worker) mend(ctx context.Context, stored projection.Position, history projection.History) (projection.Position, error) {
	// The state of an agent that has just started may be older than the copy, which
	// must not go back.
	for stored.History == history && w.config.State.Revision() < stored.Revision {
		if err := w.awaitEvent(ctx); err != nil {
			return projection.Position{}, err
		}
		if w.history() != history {
			return projection.Position{}, errBehind
		}
	}
	w.status.enter(phaseMending)
	began := w.config.Clock.Now()
	at := projection.Position{Revision: w.config.State.Revision(), History: history}
	mendCtx, cancel := context.WithTimeout(ctx, w.config.MendTimeout)
	defer cancel()
	mended, err := w.config.Target.Replace(mendCtx, at, present(w.config.Leases))
	if err != nil {
		return projection.Position{}, err
	}
	w.config.Logger.Infof("lease holders compared at revision %d: %d changed", at.Revision, mended)
	// A target never goes back, and may be shared, so its position may be a later one.
	if stored, err = w.position(ctx); err != nil {
		return projection.Position{}, err
	}
	if stored.History != history || stored.Unproved {
		return projection.Position{}, errMoved
	}
	w.reached(stored)
	w.status.knows(began)
	return stored, nil
}

// awaitHistory returns the history of the state once it has one.
func (w *Worker) awaitHistory(ctx context.Context) (projection.History, error) {
	for {
		if history := w.history(); history != (projection.History{}) {
			return history, nil
		}
		if err := w.awaitEvent(ctx); err != nil {
			return projection.History{}, err
		}
	}
}

// awaitEvent waits for an event, or for identityPoll.
func (w *Worker) awaitEvent(ctx context.Context) error {
	watcher, err := w.config.Source.Watch(w.config.State.Revision(), scope(), concerns)
	if err != nil {
		return err
	}
	defer watcher.Close()
	pollCtx, cancel := context.WithTimeout(ctx, identityPoll)
	defer cancel()
	if _, err := watcher.Next(pollCtx); err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// history returns the history of the state. A target of another one must be replaced.
func (w *Worker) history() projection.History {
	id := w.config.State.Identity()
	if id.ClusterID == "" {
		return projection.History{}
	}
	return projection.History{Cluster: id.ClusterID, Epoch: id.Epoch}
}
