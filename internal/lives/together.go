package lives

import (
	"slices"
	"time"

	"github.com/juju/clock"
	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"

	"github.com/interrex/interrex/internal/unit"
)

// Together finds out for a worker that is asked to leave another one whether both
// are being stopped, or only the other one.
type Together struct {
	Engine dependency.Reporter
	Clock  clock.Clock
	Names  []string        // the worker, and what it waits for when it stops
	Dying  <-chan struct{} // closed when the worker is stopped
}

// answerTimeout bounds the wait for an engine's report, which a worker of the
// embedder's may delay.
const answerTimeout = 5 * time.Second

// guess is how long the worker waits to be stopped itself where no engine can be
// asked. Those that are stopped together are killed in one pass, which takes far
// less.
const guess = 50 * time.Millisecond

// Known asks the engine. Its loop, which kills the workers, answers too: when it
// does, it has killed all that are stopped together, and the report says so of each,
// or of the engine.
func (t Together) Known() bool {
	if _, none := t.Engine.(noEngine); none {
		return t.guess()
	}
	answer := make(chan map[string]any, 1)
	go func() { answer <- t.Engine.Report() }()
	select {
	case report := <-answer:
		return report[dependency.KeyState] != started || t.stopping(report)
	case <-t.Dying:
		return true
	case <-t.Clock.After(answerTimeout):
		return t.guess()
	}
}

// stopping reports whether one of the workers is stopped.
func (t Together) stopping(report map[string]any) bool {
	workers, _ := report[dependency.KeyManifolds].(map[string]any)
	return slices.ContainsFunc(t.Names, func(name string) bool {
		w, _ := workers[name].(map[string]any)
		return w[dependency.KeyState] != started
	})
}

func (t Together) guess() bool {
	select {
	case <-t.Dying:
		return true
	case <-t.Clock.After(guess):
		return false
	}
}

// started is the state of an engine, or of a worker, that is not stopped.
const started = "started"

// noEngine reports what is known of the workers where the program has not said which
// engine they are in.
type noEngine struct {
	lives  *Lives
	inputs func() map[string][]string // of each worker
}

// WithoutEngine reports on workers, whose inputs are given, in an unknown engine.
func (s *Lives) WithoutEngine(inputs func() map[string][]string) dependency.Reporter {
	return noEngine{s, inputs}
}

// Engine is the line of the engine itself, which its workers ask. (The manifold
// dependency.SelfManifold provides it too, but leaves a goroutine behind when the
// engine ends before that has seen it.)
func Engine(engine dependency.Reporter) unit.Node {
	return unit.Node{Start: func(u *unit.Unit) (worker.Worker, error) {
		u.Give(engine)
		u.ReportBy(func() map[string]any { return nil })
		return nil, nil
	}}
}

// Report implements dependency.Reporter.
func (e noEngine) Report() map[string]any {
	workers := map[string]any{}
	for name, inputs := range e.inputs() {
		workers[name] = e.lives.report(name, inputs)
	}
	return map[string]any{dependency.KeyState: started, dependency.KeyManifolds: workers}
}
