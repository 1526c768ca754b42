package notify

import (
	"context"
	"fmt"
	"time"

	"github.com/juju/worker/v3/catacomb"

	"github.com/interrex/interrex/internal/backoff"
	"github.com/interrex/interrex/projection"
)

// logEvery is the minimum time between two warnings of consecutive failures.
const logEvery = time.Minute

// Worker notifies a target of the holders of leases. A failure of the target does
// not end the worker: it is logged, and retried from the position that the target
// has stored.
type Worker struct {
	config   config
	catacomb catacomb.Catacomb
	status   status

	// Used by the loop only:
	delay    time.Duration // before the next retry
	failures int           // consecutive
	warned   time.Time
}

// newWorker starts a worker.
func newWorker(c config) (*Worker, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("cannot start lease-notify: %w", err)
	}
	w := &Worker{config: c.withDefaults()}
	w.status.phase, w.status.upToDate = phaseStarting, c.Clock.Now()
	if err := catacomb.Invoke(catacomb.Plan{Site: &w.catacomb, Work: w.loop}); err != nil {
		return nil, fmt.Errorf("cannot start lease-notify: %w", err)
	}
	return w, nil
}

// Kill asks the worker to stop. The context of a call of the target in flight ends.
func (w *Worker) Kill() { w.catacomb.Kill(nil) }

// Wait waits until the worker has stopped.
func (w *Worker) Wait() error { return w.catacomb.Wait() }

// Report returns the target's position, its lag in revisions, and the last
// failure.
func (w *Worker) Report() map[string]any { return w.status.report(w.config.State.Revision()) }

// Progress returns the progress of the notifications. It never blocks.
func (w *Worker) Progress() Progress {
	return w.status.progress(w.config.State.Revision(), w.config.Clock.Now())
}

func (w *Worker) loop() error {
	ctx := w.catacomb.Context(context.Background())
	w.delay = w.config.MinRetry
	for {
		err := w.follow(ctx)
		select {
		case <-w.catacomb.Dying():
			return w.catacomb.ErrDying()
		default:
		}
		if err == nil {
			continue
		}
		w.failed(err)
		if !backoff.Pause(ctx, w.config.Clock.After(w.delay)) {
			return w.catacomb.ErrDying()
		}
		w.delay = min(2*w.delay, w.config.MaxRetry)
	}
}

// failed records a failure. It logs one warning a minute at most.
func (w *Worker) failed(err error) {
	w.failures++
	w.config.Failed()
	now := w.config.Clock.Now()
	w.status.fail(err, now)
	if w.failures > 1 && now.Sub(w.warned) < logEvery {
		return
	}
	w.warned = now
	w.config.Logger.Warningf("cannot notify of lease holders (%d consecutive failures, next retry in %v): %v", w.failures, w.delay, err)
}

// reached records that the target has reached a position.
func (w *Worker) reached(p projection.Position) {
	if w.failures > 0 {
		w.config.Logger.Infof("notifying of lease holders again after %d failures, at revision %d", w.failures, p.Revision)
	}
	w.failures, w.delay = 0, w.config.MinRetry
	w.status.recover()
	w.status.reach(p)
}
