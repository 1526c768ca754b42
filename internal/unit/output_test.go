package unit_test

import (
	"strings"
	"testing"

	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"

	"github.com/interrex/interrex/gate"
	"github.com/interrex/interrex/internal/testworker"
	"github.com/interrex/interrex/internal/unit"
)

func TestAnOutputThatIsNotThereIsSaid(t *testing.T) {
	another := new(gate.Gate)
	u, err := unit.Node{Start: func(u *unit.Unit) (worker.Worker, error) {
		u.Give(7, nil, "x")
		u.Give(another, (error)(nil))
		return nil, nil
	}}.Manifold("owner", strings.Clone, nil).Start(testworker.Inputs(nil))
	if err != nil {
		t.Fatal(err)
	}
	defer testworker.Stop(t, u)
	var number int
	if err := unit.Output(u, &number); err != nil || number != 7 {
		t.Errorf("got %d, %v", number, err)
	}
	var entrance gate.Entrance
	if err := unit.Output(u, &entrance); err != nil || entrance != another {
		t.Errorf("what is given comes first: %v, %v", entrance, err)
	}
	for out, want := range map[any]string{
		&err:                     "owner has no output of type error",
		new(float64):             "owner has no output of type float64",
		(*int)(nil):              "owner has no output of type int",
		7:                        "owner has no output of type int, which is no pointer",
		new(*testworker.Journal): "owner has no output of type *testworker.Journal",
		any(nil):                 "owner has no output of type <nil>, which is no pointer",
		new(dependency.Manifold): "owner has no output of type dependency.Manifold",
	} {
		if err := unit.Output(u, out); err == nil || err.Error() != want {
			t.Errorf("%T: got %v, want %q", out, err, want)
		}
	}
	if err := unit.Output(testworker.Slow(&testworker.Journal{}, "x", 0), &number); err == nil || !strings.Contains(err.Error(), "expected a worker of an agent, got *testworker.slow") {
		t.Errorf("got %v", err)
	}
}
