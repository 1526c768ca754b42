package manifolds

import (
	"fmt"

	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"

	"github.com/interrex/interrex/agent"
)

// Config describes an agent's manifolds and their names.
type Config struct {
	Agent agent.Config
	// Prefix begins every name. Empty: none. The constants of this package have
	// DefaultPrefix.
	Prefix string
}

// Manifolds returns all workers of an agent, for any dependency.Engine: those of
// agent.NewWorkers, for a program that need not drain them and whose engine need not
// be known to them. For a configuration that is not valid it returns a single
// manifold, whose start fails and says why.
func Manifolds(c Config) dependency.Manifolds {
	w, err := agent.NewWorkers(c.Agent, c.Prefix)
	if err == nil {
		return w.Manifolds
	}
	return dependency.Manifolds{c.Prefix + "config": {
		Start: func(dependency.Context) (worker.Worker, error) {
			return nil, fmt.Errorf("cannot run an agent: %w", err)
		},
	}}
}
