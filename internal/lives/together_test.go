package lives

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/juju/clock"
	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"

	"github.com/interrex/interrex/internal/testworker"
	"github.com/interrex/interrex/internal/unit"
)

// until is a worker that ends when it is killed, which takes a while, and calls end.
type until struct {
	*unit.Loop
	kill time.Duration
}

func (w until) Kill() {
	time.Sleep(w.kill) // in the engine's loop
	w.Loop.Kill()
}

// startUntil starts such a worker, with an input or none.
func startUntil(input string, kill time.Duration, end func()) dependency.Manifold {
	m := dependency.Manifold{Start: func(ctx dependency.Context) (worker.Worker, error) {
		if input != "" {
			if err := ctx.Get(input, nil); err != nil {
				return nil, err
			}
		}
		return until{unit.Run(func(ctx context.Context) error {
			<-ctx.Done()
			end()
			return nil
		}), kill}, nil
	}}
	if input != "" {
		m.Inputs = []string{input}
	}
	return m
}

// asked is what a worker that is stopped learns of another one, when stop has been
// called with the engine that both are in, and with the input of the first.
func asked(t *testing.T, report func(*dependency.Engine) dependency.Reporter, stop func(engine, input worker.Worker)) (together bool) {
	var input worker.Worker
	var engine *dependency.Engine
	dying, answer := make(chan struct{}), make(chan bool, 1)
	known := make(chan struct{}) // the engine is
	source := startUntil("", 0, func() {})
	start := source.Start
	source.Start = func(ctx dependency.Context) (w worker.Worker, err error) {
		input, err = start(ctx)
		return input, err
	}
	set := dependency.Manifolds{
		"input":  source,
		"client": startUntil("", 0, func() { close(dying) }),
		"asking": startUntil("input", 0, func() {
			<-known
			is := Together{Engine: report(engine), Clock: clock.WallClock, Names: []string{"client"}, Dying: dying}.Known()
			select {
			case answer <- is:
			default:
			}
		}),
	}
	for _, name := range []string{"a", "b", "c"} {
		set[name] = startUntil("", time.Second, func() {})
	}
	engine = testworker.Engine(t, set)
	close(known)
	synctest.Wait()
	time.Sleep(time.Minute) // all are started
	stop(engine, input)
	together = <-answer
	if err := worker.Stop(engine); err != nil {
		t.Error(err)
	}
	return together
}

func asItIs(e *dependency.Engine) dependency.Reporter { return e }

// The engine tells its workers one after the other, in any order: the second may be
// told long after the first.
func TestAWorkerThatIsStoppedKnowsThatEverythingIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 30 {
			if !asked(t, asItIs, func(engine, _ worker.Worker) { engine.Kill() }) {
				t.Fatal("it is said to be stopped alone")
			}
		}
	})
}

func TestAWorkerThatIsRestartedKnowsThatTheOthersGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if asked(t, asItIs, func(_, input worker.Worker) { input.Kill() }) {
			t.Error("it is said to be stopped together with another one, which goes on")
		}
	})
}

// mute is an engine whose report never comes.
type mute chan map[string]any

func (m mute) Report() map[string]any { return <-m }

func TestAReportThatDoesNotComeIsNotWaitedForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		silent := mute(make(chan map[string]any))
		defer close(silent)
		ask := func(*dependency.Engine) dependency.Reporter { return silent }
		began := time.Now()
		if asked(t, ask, func(_, input worker.Worker) { input.Kill() }) {
			t.Error("it is said to be stopped together with another one, which goes on")
		}
		if took := time.Since(began); took > time.Minute+answerTimeout+guess+3*time.Second { // the last of them is the others' stop
			t.Errorf("it took %s", took)
		}
		if !asked(t, ask, func(engine, _ worker.Worker) { engine.Kill() }) {
			t.Error("it is said to be stopped alone")
		}
	})
}

func TestWithoutAnEngineItIsGuessedWhetherEverythingStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		none := func(*dependency.Engine) dependency.Reporter { return noEngine{} }
		if asked(t, none, func(_, input worker.Worker) { input.Kill() }) {
			t.Error("it is said to be stopped together with another one, which goes on")
		}
		dying := make(chan struct{})
		time.AfterFunc(guess/2, func() { close(dying) })
		if !(Together{Engine: noEngine{}, Clock: clock.WallClock, Dying: dying}).Known() {
			t.Error("it is said to be stopped alone")
		}
	})
}
