package assembly

import (
	"context"

	"github.com/juju/worker/v3/dependency"

	"github.com/interrex/interrex"
)

// console shows the agent to its operators and takes their commands; it is the
// apiserver.Engine of this agent.
type console struct {
	set    *Set
	engine dependency.Reporter
}

// Report returns the dependency engine's report: see Set.Report.
func (c console) Report() map[string]any { return c.set.Report(c.engine) }

// Config returns the effective configuration as YAML.
func (c console) Config() (string, error) {
	text, err := InForce(c.set.section()).YAML()
	return string(text), err
}

// Reload applies the configuration file.
func (c console) Reload(ctx context.Context) ([]string, error) { return c.set.Reload(ctx) }

// Drain drains the agent, then stops it.
func (c console) Drain(ctx context.Context) error {
	if c.set.config.Agent.Drain == nil {
		return interrex.Errorf(interrex.ErrDisabled, "cannot drain: this agent runs in another program's engine: stop that program")
	}
	return c.set.config.Agent.Drain(ctx)
}

// Leave takes the agent out of its cluster, then drains and stops it.
func (c console) Leave(ctx context.Context, purge bool) error {
	if c.set.config.Agent.Drain == nil {
		return interrex.Errorf(interrex.ErrDisabled, "cannot leave: this agent runs in another program's engine: remove it with 'interrex member remove', and stop that program")
	}
	if err := c.set.Leave(ctx, purge); err != nil {
		return err
	}
	return c.Drain(ctx)
}

// Status returns what is known without asking another agent.
func (c console) Status() interrex.Status { return c.set.Status() }
