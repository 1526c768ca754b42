package leadership

import (
	"context"
	"errors"

	"github.com/juju/worker/v3/catacomb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gate"
)

// ErrChanged ends a Worker when this agent's leadership has begun or ended. The
// manifold's filter turns it into the engine's bounce.
var ErrChanged = errors.New("leadership has changed")

// Worker is a gate.Flag that lives for one term of this agent's leadership, or the
// time between two of them. Its value never changes: when it would, the worker ends
// with ErrChanged, and the engine stops its dependents before it starts the next
// one.
//
// It runs on followers too, with the value false. The engine retries a worker that
// refuses to start only when one of its inputs changes, so a flag that refused to
// start on a follower would not start when this agent becomes leader.
type Worker struct {
	catacomb catacomb.Catacomb
	held     interrex.Leadership
	watch    *Watch
}

var _ gate.Flag = (*Worker)(nil)

// NewWorker starts a flag with the present leadership.
func NewWorker(t *Tracker) (*Worker, error) {
	w := &Worker{watch: t.Watch()}
	// The first Next returns the present and does not wait.
	held, err := w.watch.Next(context.Background())
	if err != nil {
		return nil, err
	}
	w.held = held
	if err := catacomb.Invoke(catacomb.Plan{Site: &w.catacomb, Work: w.loop}); err != nil {
		return nil, err
	}
	return w, nil
}

// Check reports whether this agent leads and is ready. It is constant while the
// worker lives.
func (w *Worker) Check() bool { return w.held.Ready }

// Term returns the term in which this agent leads; 0 when Check is false.
func (w *Worker) Term() uint64 {
	if !w.held.Ready {
		return 0
	}
	return w.held.Term
}

// Kill asks the worker to stop.
func (w *Worker) Kill() { w.catacomb.Kill(nil) }

// Wait waits for the worker's end; the error is ErrChanged when this agent's
// leadership has begun or ended.
func (w *Worker) Wait() error { return w.catacomb.Wait() }

// Report describes the flag for the engine's report.
func (w *Worker) Report() map[string]any {
	return map[string]any{"leader": w.Check(), "term": w.held.Term}
}

func (w *Worker) loop() error {
	ctx := w.catacomb.Context(context.Background())
	for {
		now, err := w.watch.Next(ctx)
		if err != nil {
			return w.catacomb.ErrDying()
		}
		if now.Ready != w.held.Ready || now.Ready && now.Term != w.held.Term {
			return ErrChanged
		}
	}
}
