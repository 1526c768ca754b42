package manifolds

import (
	"fmt"
	"slices"

	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"

	"github.com/interrex/interrex/gate"
)

// Flag lets m run only while the worker that is called flag offers a true
// gate.Flag. Its answer is constant for that worker's life, so m stops when
// the condition ends, and the flag's owner waits for that.
func Flag(name, flag string, m dependency.Manifold) dependency.Manifold {
	start := m.Start
	m.Inputs = with(m.Inputs, flag)
	m.Start = func(ctx dependency.Context) (worker.Worker, error) {
		var f gate.Flag
		if err := ctx.Get(flag, &f); err != nil {
			return nil, err
		}
		if !f.Check() {
			return nil, fmt.Errorf("%s is not set: %w", flag, dependency.ErrMissing)
		}
		return start(ctx)
	}
	return Gate(name, m, flag)
}

func with(inputs []string, name string) []string {
	if slices.Contains(inputs, name) {
		return inputs
	}
	return append(slices.Clone(inputs), name)
}
