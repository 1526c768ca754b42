package manifolds

import (
	"slices"
	"strings"
	"time"

	"github.com/juju/clock"
	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"
)

// togetherness finds out for a worker that is asked to leave another one whether both
// are being stopped, or only the other one.
type togetherness struct {
	engine dependency.Reporter
	clock  clock.Clock
	names  []string        // the worker, and what it waits for when it stops
	dying  <-chan struct{} // closed when the worker is stopped
}

// answerTimeout bounds the wait for an engine's report, which a worker of the
// embedder's may delay.
const answerTimeout = 5 * time.Second

// guess is how long the worker waits to be stopped itself where no engine can be
// asked. Those that are stopped together are killed in one pass, which takes far
// less.
const guess = 50 * time.Millisecond

// known asks the engine. Its loop, which kills the workers, answers too: when it
// does, it has killed all that are stopped together, and the report says so of each,
// or of the engine.
func (t togetherness) known() bool {
	if _, none := t.engine.(noEngine); none {
		return t.guess()
	}
	answer := make(chan map[string]any, 1)
	go func() { answer <- t.engine.Report() }()
	select {
	case report := <-answer:
		return report[dependency.KeyState] != started || t.stopping(report)
	case <-t.dying:
		return true
	case <-t.clock.After(answerTimeout):
		return t.guess()
	}
}

// stopping reports whether one of the workers is stopped.
func (t togetherness) stopping(report map[string]any) bool {
	workers, _ := report[dependency.KeyManifolds].(map[string]any)
	return slices.ContainsFunc(t.names, func(name string) bool {
		w, _ := workers[name].(map[string]any)
		return w[dependency.KeyState] != started
	})
}

func (t togetherness) guess() bool {
	select {
	case <-t.dying:
		return true
	case <-t.clock.After(guess):
		return false
	}
}

// started is the state of an engine, or of a worker, that is not stopped.
const started = "started"

// noEngine reports what the manifolds know of themselves, where the embedder has not
// put the engine in its place.
type noEngine struct{ set *Set }

// Engine is the manifold by which an agent's workers ask the engine that they are
// in: see Manifolds. (dependency.SelfManifold does for them, too, but leaves a
// goroutine behind when the engine ends before that has seen it.)
func Engine(engine dependency.Reporter) dependency.Manifold {
	return engineNode(engine).manifold(EngineName, strings.Clone, nil)
}

// engineNode returns what reports for an engine, or in place of one.
func engineNode(engine dependency.Reporter) node {
	return node{start: func(u *unit) (worker.Worker, error) {
		u.give(engine)
		u.report = func() map[string]any { return nil }
		return nil, nil
	}}
}

// Report implements dependency.Reporter.
func (e noEngine) Report() map[string]any {
	workers := map[string]any{}
	for name, m := range e.set.Manifolds {
		workers[name] = e.set.Starts.report(name, m.Inputs)
	}
	return map[string]any{dependency.KeyState: started, dependency.KeyManifolds: workers}
}
