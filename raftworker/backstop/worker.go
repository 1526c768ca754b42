package backstop

import (
	"context"
	"fmt"
	"sync"

	"github.com/juju/worker/v3/catacomb"
)

// Worker waits until several looks in a row have said that only a recovery helps, and
// then has the cluster recovered, once.
type Worker struct {
	catacomb catacomb.Catacomb
	config   Config

	mu    sync.Mutex
	looks int   // in a row that have said so
	why   error // why the last look did not
}

// NewWorker starts a Worker.
func NewWorker(c Config) (*Worker, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("cannot start the backstop: %w", err)
	}
	w := &Worker{config: c}
	if err := catacomb.Invoke(catacomb.Plan{Site: &w.catacomb, Work: w.loop}); err != nil {
		return nil, err
	}
	return w, nil
}

// Kill is part of worker.Worker.
func (w *Worker) Kill() { w.catacomb.Kill(nil) }

// Wait is part of worker.Worker.
func (w *Worker) Wait() error { return w.catacomb.Wait() }

// Report is part of worker.Reporter.
func (w *Worker) Report() map[string]any {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := map[string]any{"looks": fmt.Sprintf("%d of %d", w.looks, Looks)}
	if w.why != nil {
		r["waits-because"] = w.why.Error()
	}
	return r
}

func (w *Worker) loop() error {
	ctx := w.catacomb.Context(context.Background())
	for {
		if seen, running := w.config.Look(); running && w.note(w.judge(ctx, seen)) {
			w.config.Recover()
			<-w.catacomb.Dying()
			return w.catacomb.ErrDying()
		}
		select {
		case <-w.catacomb.Dying():
			return w.catacomb.ErrDying()
		case <-w.config.Clock.After(every):
		}
	}
}

// judge returns why the cluster is not to be recovered from this agent.
func (w *Worker) judge(ctx context.Context, seen Sight) error {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	if err := w.config.needed(seen); err != nil {
		return err
	}
	if err := w.config.stated(ctx, seen); err != nil {
		return err
	}
	return w.config.Absent(ctx)
}

// note counts a look, and reports whether it was the last one that is needed.
func (w *Worker) note(why error) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := w.why
	if w.why = why; why != nil {
		w.looks = 0
		if before == nil || before.Error() != why.Error() {
			w.config.Logger.Infof("not recovering the cluster: %v", why)
		}
		return false
	}
	w.looks++
	w.config.Logger.Warningf("the other voters are said to be gone for good, and no agent responds: %d of %d looks before the cluster is recovered from this agent", w.looks, Looks)
	return w.looks == Looks
}
