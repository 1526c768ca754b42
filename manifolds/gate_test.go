package manifolds

import (
	"errors"
	"testing"

	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"

	"github.com/interrex/interrex/gate"
	"github.com/interrex/interrex/internal/testworker"
)

// is is a flag.
type is bool

func (f is) Check() bool { return bool(f) }

func TestAFlaggedWorkerStartsOnlyWhileItsFlagIsTrue(t *testing.T) {
	m := Flag("user", "flag", dependency.Manifold{Start: func(dependency.Context) (worker.Worker, error) {
		return testworker.Slow(&testworker.Journal{}, "user", 0), nil
	}})
	if _, err := m.Start(testworker.Inputs{"flag": {is(false), gate.New()}}); !errors.Is(err, dependency.ErrMissing) {
		t.Errorf("with a false flag: %v", err)
	}
	w, err := m.Start(testworker.Inputs{"flag": {is(true), gate.New()}})
	if err != nil {
		t.Fatal(err)
	}
	testworker.Stop(t, w)
}
