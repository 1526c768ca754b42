package notify_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/juju/clock"
	"github.com/juju/worker/v3/dependency"
	dt "github.com/juju/worker/v3/dependency/testing"

	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/watch"
	"github.com/interrex/interrex/notify"
	"github.com/interrex/interrex/state"
)

var names = notify.ManifoldConfig{
	ClockName: "clock", RingName: "ring", LeasesName: "leases", StateName: "state", TargetName: "target",
}

func TestManifoldStartsTheWorkerFromItsInputs(t *testing.T) {
	ring := watch.New(watch.Config{})
	defer ring.Close()
	leases := lease.New()
	st, err := machine.New(machine.Config{Tables: []state.Table{leases}, Publisher: ring})
	if err != nil {
		t.Fatal(err)
	}
	inputs := map[string]any{"clock": clock.Clock(clock.WallClock), "ring": ring, "leases": leases,
		"state": st, "target": notify.Target(newTarget())}
	m := notify.Manifold(names)
	if want := []string{"clock", "ring", "leases", "state", "target"}; !slices.Equal(m.Inputs, want) {
		t.Errorf("Inputs = %q", m.Inputs)
	}
	for _, missing := range append(m.Inputs, "") {
		resources := map[string]any{}
		for name, v := range inputs {
			resources[name] = v
			if name == missing {
				resources[name] = dependency.ErrMissing
			}
		}
		w, err := m.Start(dt.StubContext(nil, resources))
		if missing != "" {
			if !errors.Is(err, dependency.ErrMissing) {
				t.Errorf("without %s: %v", missing, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		w.Kill()
		if err := w.Wait(); err != nil {
			t.Error(err)
		}
	}
}

func TestManifoldConfigNamesWhatIsMissing(t *testing.T) {
	for want, breakIt := range map[string]func(*notify.ManifoldConfig){
		"empty ClockName not valid":  func(c *notify.ManifoldConfig) { c.ClockName = "" },
		"empty RingName not valid":   func(c *notify.ManifoldConfig) { c.RingName = "" },
		"empty LeasesName not valid": func(c *notify.ManifoldConfig) { c.LeasesName = "" },
		"empty StateName not valid":  func(c *notify.ManifoldConfig) { c.StateName = "" },
		"empty TargetName not valid": func(c *notify.ManifoldConfig) { c.TargetName = "" },
	} {
		c := names
		breakIt(&c)
		if err := c.Validate(); err == nil || err.Error() != want {
			t.Errorf("Validate = %v, want %q", err, want)
		}
	}
}
