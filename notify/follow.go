package notify

import (
	"context"
	"errors"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
	"github.com/interrex/interrex/watch"
)

// identityPoll is how often a worker that knows of no cluster looks for one.
// An event wakes it earlier.
const identityPoll = time.Second

// large is how many events in one batch say that more of them wait.
const large = 128

// errElsewhere says that the target is not where it was left: its database was
// moved away, or lost its tables.
var errElsewhere = errors.New("the target is not where it was")

// errBehind asks for another try: the ring has been reset to where the state
// is not yet.
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
	watcher, err := w.config.Source.Watch(kept.Revision, concerns)
	if errors.Is(err, interrex.ErrCompacted) {
		if kept, err = w.mend(ctx, kept, history); err != nil {
			return err
		}
		if watcher, err = w.config.Source.Watch(kept.Revision, concerns); errors.Is(err, interrex.ErrCompacted) {
			return errBehind
		}
	}
	if err != nil {
		return err
	}
	defer watcher.Close()
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
		events, err := w.next(ctx, watcher, at)
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
		if len(events) < large {
			w.pause(ctx)
		}
	}
}

// next waits for events. Meanwhile it looks now and then whether the target is
// still where it was, or further: others may tell it too.
func (w *Worker) next(ctx context.Context, watcher *watch.Watcher, at Position) ([]state.Event, error) {
	w.status.enter(phaseIdle)
	for {
		lookCtx, cancel := context.WithTimeout(ctx, w.config.Look)
		events, err := watcher.Next(lookCtx)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
			return events, err
		}
		kept, err := w.position(ctx)
		if err != nil {
			return nil, err
		}
		if kept.History != at.History || kept.Revision < at.Revision || kept.Unproved {
			return nil, errElsewhere
		}
		w.told(kept)
	}
}

// pause lets events gather.
func (w *Worker) pause(ctx context.Context) {
	w.status.enter(phaseIdle)
	select {
	case <-ctx.Done():
	case <-w.config.Clock.After(w.config.Pause):
	}
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
// that there are, and gives the position to go on from. The revision is read
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
	return kept, nil
}

// awaitHistory gives the history of the state once it has one.
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
	return History{Cluster: id.ClusterID, Epoch: id.Epoch.Number, Bits: id.Epoch.Bits}
}
