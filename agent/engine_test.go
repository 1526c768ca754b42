package agent

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/juju/clock"
	"github.com/juju/loggo"
	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"
)

// starts returns the times between the starts of a worker that always ends with an
// error.
func starts(t *testing.T, n int, end error) (pauses []time.Duration) {
	t.Helper()
	engine, err := dependency.NewEngine(engineConfig(clock.WallClock, loggo.GetLogger("test")))
	if err != nil {
		t.Fatal(err)
	}
	began := make(chan time.Time, n+1)
	failing := dependency.Manifold{Start: func(dependency.Context) (worker.Worker, error) {
		select {
		case began <- time.Now():
		default:
		}
		return nil, end
	}}
	if err := dependency.Install(engine, dependency.Manifolds{"failing": failing}); err != nil {
		t.Fatal(err)
	}
	last := <-began
	for range n {
		now := <-began
		pauses, last = append(pauses, now.Sub(last)), now
	}
	if err := worker.Stop(engine); err != nil {
		t.Error(err)
	}
	return pauses
}

// G04, F02: the library lets each pause differ by a tenth.
func TestAWorkerThatFailsIsStartedEverMoreSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		want := 3 * time.Second
		for i, pause := range starts(t, 6, errors.New("broken")) {
			if pause < want*8/10 || pause > want*12/10 {
				t.Errorf("pause %d is %s, want about %s", i+1, pause, want)
			}
			want = min(want*12/10, 5*time.Second)
		}
	})
}

// G04: a bounce is no failure.
func TestAWorkerThatBouncesIsStartedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for i, pause := range starts(t, 3, dependency.ErrBounce) {
			if pause > 100*time.Millisecond {
				t.Errorf("pause %d is %s", i+1, pause)
			}
		}
	})
}

// F04.
func TestAWorkerThatWaitsForItselfOrIsThereTwiceIsRefused(t *testing.T) {
	engine, err := dependency.NewEngine(engineConfig(clock.WallClock, loggo.GetLogger("test")))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = worker.Stop(engine) }()
	start := func(dependency.Context) (worker.Worker, error) { return nil, dependency.ErrMissing }
	if err := engine.Install("a", dependency.Manifold{Start: start, Inputs: []string{"b"}}); err != nil {
		t.Fatal(err)
	}
	if err := engine.Install("b", dependency.Manifold{Start: start, Inputs: []string{"a"}}); err == nil || !strings.Contains(err.Error(), "cycle") {
		t.Errorf("a cycle: %v", err)
	}
	if err := engine.Install("a", dependency.Manifold{Start: start}); err == nil {
		t.Error("two of one name")
	}
}
