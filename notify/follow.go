package notify

import (
	"context"
	"errors"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/backoff"
	"github.com/interrex/interrex/internal/watch"
	"github.com/interrex/interrex/state"
)

// identityPoll is how often a worker that knows of no cluster looks for one.
// An event wakes it earlier.
const identityPoll = time.Second

// gathered is how many events are told together at most, but for those that
// come in one batch. The ring keeps four times as many by default.
const gathered = 16_384

// After telling the worker rests restFor times as long as that took, and so after
// comparing what it had not followed: it never takes more than a twentieth of one
// processor, or of the disk. Under load, events are told more seldom and more of
// them together, and a target that cannot follow is compared now and then. But
// the worker rests at most maxRest.
const (
	restFor = 19
	maxRest = 20 * time.Second
)

// errElsewhere says that the target is not where it was left: its database was
// moved away, or lost its tables.
var errElsewhere = errors.New("the target is not where it was")

// errBehind asks for another try: the state was exchanged meanwhile.
var errBehind = errors.New("the state is just being restored")

// follow takes up where the target is and tells on from there. Nil asks for
// the same again at once: what was followed is not history any more, or the
// target is not where it was.
func (w *Worker) follow(ctx context.Context) error {
	history, err := w.awaitHistory(ctx)
	if err != nil {
		return err
	}
	kept, err := w.position(ctx)
	if err != nil {
		return err
	}
	if kept.History != history || kept.Unproved {
		if kept, err = w.mend(ctx, kept, history); err != nil {
			return err
		}
	}
	began := w.config.Clock.Now()
	watcher, err := w.config.Source.Watch(kept.Revision, concerns)
	behind := errors.Is(err, interrex.ErrCompacted)
	if behind {
		if kept, err = w.mend(ctx, kept, history); err != nil {
			return err
		}
		watcher, err = w.config.Source.Watch(kept.Revision, concerns)
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
	return w.tellOn(ctx, watcher, kept)
}

// tellOn tells the target, which is at a position, of each batch until
// something fails.
func (w *Worker) tellOn(ctx context.Context, watcher *watch.Watcher, at Position) error {
	for {
		// What was restored before the watch began has not closed it.
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
		if kind := interrex.KindOf(err); kind == interrex.KindCompacted || kind == interrex.KindWatchClosed || errors.Is(err, errElsewhere) {
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

// gather adds to events what waits behind them.
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
		events = append(events, more...) // events has no room: the first copies
	}
	return events, nil
}

// next waits for events, when none are there. Meanwhile it looks now and then whether the target is
// still where it was, or further: others may tell it too.
func (w *Worker) next(ctx context.Context, watcher *watch.Watcher, at Position) ([]state.Event, error) {
	w.told(at)
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
		kept, err := w.position(ctx)
		if err != nil {
			return nil, err
		}
		if kept.History != at.History || kept.Revision < at.Revision || kept.Unproved {
			return nil, errElsewhere
		}
	}
}

// rest lets events gather, after work that began at a time.
func (w *Worker) rest(ctx context.Context, began time.Time) {
	w.status.enter(phaseResting)
	took := w.config.Clock.Now().Sub(began)
	backoff.Pause(ctx, w.config.Clock.After(max(w.config.Pause, min(restFor*took, maxRest))))
}

func (w *Worker) notify(ctx context.Context, to Position, events []state.Event) error {
	ctx, cancel := context.WithTimeout(ctx, w.config.NotifyTimeout)
	defer cancel()
	if err := w.config.Target.Notify(ctx, to, func(t NotifyTarget) error { return tell(t, events) }); err != nil {
		return err
	}
	w.told(to)
	return nil
}

func (w *Worker) position(ctx context.Context) (Position, error) {
	ctx, cancel := context.WithTimeout(ctx, w.config.NotifyTimeout)
	defer cancel()
	p, err := w.config.Target.Position(ctx)
	if err == nil {
		w.status.reach(p)
	}
	return p, err
}

// mend brings the target, which is at a position, in step with all the leases
// that there are, and returns the position to go on from. The revision is read
// before the list: what happens in between is told again.
func (w *Worker) mend(ctx context.Context, kept Position, history History) (Position, error) {
	// A copy does not go back: the state of an agent that has just started may.
	for kept.History == history && w.config.State.Revision() < kept.Revision {
		if err := w.awaitEvent(ctx); err != nil {
			return Position{}, err
		}
		if w.history() != history {
			return Position{}, errBehind
		}
	}
	w.status.enter(phaseMending)
	began := w.config.Clock.Now()
	at := Position{Revision: w.config.State.Revision(), History: history}
	mendCtx, cancel := context.WithTimeout(ctx, w.config.MendTimeout)
	defer cancel()
	mended, err := w.config.Target.Replace(mendCtx, at, present(w.config.Leases))
	if err != nil {
		return Position{}, err
	}
	w.config.Logger.Infof("lease holders compared at revision %d: %d changed", at.Revision, mended)
	// A target never goes back, and may be shared: it knows where it is.
	if kept, err = w.position(ctx); err != nil {
		return Position{}, err
	}
	if kept.History != history || kept.Unproved {
		return Position{}, errElsewhere
	}
	w.told(kept)
	w.status.knows(began)
	return kept, nil
}

// awaitHistory returns the history of the state once it has one.
func (w *Worker) awaitHistory(ctx context.Context) (History, error) {
	for {
		if history := w.history(); history != (History{}) {
			return history, nil
		}
		if err := w.awaitEvent(ctx); err != nil {
			return History{}, err
		}
	}
}

// awaitEvent waits until something happens, or identityPoll has passed.
func (w *Worker) awaitEvent(ctx context.Context) error {
	watcher, err := w.config.Source.Watch(w.config.State.Revision(), concerns)
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

// history names the history of the state: a copy of another one is no copy.
func (w *Worker) history() History {
	id := w.config.State.Identity()
	if id.ClusterID == "" {
		return History{}
	}
	return History{Cluster: id.ClusterID, Epoch: id.Epoch}
}
