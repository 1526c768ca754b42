package manifolds

import (
	"github.com/juju/worker/v3/dependency"

	"github.com/interrex/interrex/internal/unit"
)

// Gate makes the workers of m visitors of owners, workers that provide a
// gate.Entrance, which become inputs of m. An owner frees what it owns only when the
// visit has ended, which is when the worker's Wait has returned. An owner that stops
// kills the worker at once. name is the visitor's, for reports.
func Gate(name string, m dependency.Manifold, owners ...string) dependency.Manifold {
	return unit.Gate(name, m, owners...)
}

// Flag lets m run only while the worker that is called flag, which becomes an input of
// m, provides a true gate.Flag: with LeaderName, where this agent leads. The answer is
// constant for that worker's life, so m stops when the condition ends, and the flag's
// owner waits for that. name is that of m, for reports.
func Flag(name, flag string, m dependency.Manifold) dependency.Manifold {
	return unit.Flag(name, flag, m)
}
