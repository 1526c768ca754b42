package leadership

import (
	"errors"
	"fmt"

	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"

	"github.com/interrex/interrex/gate"
)

// ManifoldConfig names the inputs of the flag's manifold.
type ManifoldConfig struct {
	// RaftName is the raft worker: the flag is restarted with it.
	RaftName string
	Tracker  *Tracker
}

// Validate returns an error for the first field that is not valid.
func (c ManifoldConfig) Validate() error {
	if c.RaftName == "" {
		return errors.New("empty RaftName not valid")
	}
	if c.Tracker == nil {
		return errors.New("nil Tracker not valid")
	}
	return nil
}

// Manifold returns a manifold that runs the flag in a dependency engine. Its
// output is a *gate.Flag.
func Manifold(cfg ManifoldConfig) dependency.Manifold {
	return dependency.Manifold{
		Inputs: []string{cfg.RaftName},
		Start:  cfg.start,
		Output: output,
		Filter: filter,
	}
}

func (c ManifoldConfig) start(ctx dependency.Context) (worker.Worker, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	// The raft worker only has to run: its knowledge comes through the tracker.
	if err := ctx.Get(c.RaftName, nil); err != nil {
		return nil, err
	}
	return NewWorker(c.Tracker)
}

func output(in worker.Worker, out any) error {
	w, ok := in.(*Worker)
	if !ok {
		return fmt.Errorf("expected input of type *leadership.Worker, got %T", in)
	}
	flag, ok := out.(*gate.Flag)
	if !ok {
		return fmt.Errorf("expected output of *gate.Flag, got %T", out)
	}
	*flag = w
	return nil
}

// filter turns the end of a term into a bounce: dependents are stopped, and the
// flag starts again with the new value.
func filter(err error) error {
	if errors.Is(err, ErrChanged) {
		return dependency.ErrBounce
	}
	return err
}
