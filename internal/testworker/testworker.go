// Package testworker owns the workers that our own tests put into a dependency engine,
// and that engine.
package testworker

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/juju/clock"
	"github.com/juju/loggo"
	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"
	"gopkg.in/tomb.v2"

	"github.com/interrex/interrex/internal/unit"
)

// Journal notes what happened, in order.
type Journal struct {
	mu    sync.Mutex
	lines []string
}

// Add notes a line.
func (j *Journal) Add(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
}

// All returns the lines.
func (j *Journal) All() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.lines)
}

// slow is a worker that takes a while to stop.
type slow struct{ tomb tomb.Tomb }

// Slow starts a worker that takes a while to stop, and notes when it has.
func Slow(j *Journal, name string, stopping time.Duration) worker.Worker {
	w := &slow{}
	j.Add(name + " runs")
	w.tomb.Go(func() error {
		<-w.tomb.Dying()
		time.Sleep(stopping)
		j.Add(name + " has stopped")
		return nil
	})
	return w
}

// Kill implements worker.Worker.
func (w *slow) Kill() { w.tomb.Kill(nil) }

// Wait implements worker.Worker.
func (w *slow) Wait() error { return w.tomb.Wait() }

// Engine starts an engine with workers.
func Engine(t *testing.T, set dependency.Manifolds) *dependency.Engine {
	t.Helper()
	engine, err := dependency.NewEngine(dependency.EngineConfig{
		IsFatal:     func(error) bool { return false },
		WorstError:  func(err, _ error) error { return err },
		ErrorDelay:  time.Second,
		BounceDelay: 10 * time.Millisecond,
		Clock:       clock.WallClock,
		Metrics:     dependency.DefaultMetrics(),
		Logger:      loggo.NewContext(loggo.ERROR).GetLogger("engine"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := dependency.Install(engine, set); err != nil {
		t.Fatal(err)
	}
	return engine
}

// Stop ends a worker, which must not fail.
func Stop(t *testing.T, w worker.Worker) {
	t.Helper()
	if err := worker.Stop(w); err != nil {
		t.Fatal(err)
	}
}

// Inputs are the inputs of a start, and what each provides. They are a
// dependency.Context.
type Inputs map[string][]any

// Abort implements dependency.Context.
func (g Inputs) Abort() <-chan struct{} { return nil }

// Get implements dependency.Context.
func (g Inputs) Get(name string, out any) error {
	if !slices.ContainsFunc(g[name], func(value any) bool { return unit.Assign(out, value) }) {
		return errors.New("no " + name)
	}
	return nil
}
