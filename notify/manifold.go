package notify

import (
	"errors"

	"github.com/juju/clock"
	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/watch"
)

// ManifoldConfig names the inputs of the worker's manifold.
type ManifoldConfig struct {
	ClockName  string // provides a clock.Clock
	RingName   string // provides a *watch.Ring
	LeasesName string // provides a *lease.Table
	StateName  string // provides the replicated state
	TargetName string // provides a notify.Target

	Logger interrex.Logger // nil: none
	Failed func()          // called at each failure of the target; must not block. May be nil
}

// Validate returns an error that names the field that is not valid.
func (c ManifoldConfig) Validate() error {
	switch {
	case c.ClockName == "":
		return errors.New("empty ClockName not valid")
	case c.RingName == "":
		return errors.New("empty RingName not valid")
	case c.LeasesName == "":
		return errors.New("empty LeasesName not valid")
	case c.StateName == "":
		return errors.New("empty StateName not valid")
	case c.TargetName == "":
		return errors.New("empty TargetName not valid")
	}
	return nil
}

// Manifold runs the worker in a dependency engine. Raft is not an input of it,
// and nothing depends on it.
func Manifold(cfg ManifoldConfig) dependency.Manifold {
	return dependency.Manifold{
		Inputs: []string{cfg.ClockName, cfg.RingName, cfg.LeasesName, cfg.StateName, cfg.TargetName},
		Start:  cfg.start,
	}
}

func (c ManifoldConfig) start(ctx dependency.Context) (worker.Worker, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	var (
		clk    clock.Clock
		ring   *watch.Ring
		table  *lease.Table
		st     replicated
		target Target
	)
	// One worker may provide several of them, so the names may be equal.
	for _, input := range []struct {
		name string
		out  any
	}{
		{c.ClockName, &clk}, {c.RingName, &ring}, {c.LeasesName, &table}, {c.StateName, &st}, {c.TargetName, &target},
	} {
		if err := ctx.Get(input.name, input.out); err != nil {
			return nil, err
		}
	}
	w, err := newWorker(config{
		Source: ring, Leases: table, State: st, Target: target, Clock: clk, Logger: c.Logger, Failed: c.Failed,
	})
	if err != nil {
		return nil, err
	}
	return w, nil
}
