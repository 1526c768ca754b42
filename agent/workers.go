package agent

import (
	"context"
	"fmt"

	"github.com/juju/worker/v3/dependency"

	"github.com/interrex/interrex/internal/assembly"
	"github.com/interrex/interrex/internal/lives"
)

// Workers are all workers of one agent, for a dependency engine of the program's own
// in place of the one that an Agent has.
type Workers struct {
	// Manifolds are the workers by name, until Install. To leave one out, delete it:
	// the workers that need it do not start. Add the program's own, made by package
	// manifolds, which has the names.
	Manifolds dependency.Manifolds

	set *assembly.Set
}

// NewWorkers checks the configuration, and makes the workers. It starts nothing.
// prefix begins their names: with manifolds.DefaultPrefix they are the constants of
// package manifolds.
func NewWorkers(c Config, prefix string) (*Workers, error) {
	set, err := assembly.New(assembly.Config{Agent: c.assembled(), Prefix: prefix})
	if err != nil {
		return nil, err
	}
	return &Workers{Manifolds: set.Manifolds, set: set}, nil
}

// Name returns a name of package manifolds under the prefix of these workers.
func (w *Workers) Name(name string) string { return w.set.Name(name) }

// Install puts the workers into an engine, which starts them. The error of a worker
// must not end the engine: IsFatal returns false for it. A bounce is part of a start
// and of each reload, so BounceDelay is a few milliseconds; an Agent's engine has an
// ErrorDelay of 3 s, which grows by a BackoffFactor of 1.2 to a MaxDelay of 5 s, and
// is forgotten after a BackoffResetTime of a minute.
//
// When the engine is killed, leases that are held through the agent are released
// after their users have stopped, as in a drain. Call Drain first to hand leadership
// over too, and to end open calls politely.
func (w *Workers) Install(engine *dependency.Engine) error {
	w.Manifolds[w.Name(assembly.EngineName)] = lives.Engine(engine).Manifold(w.Name(assembly.EngineName), w.Name, nil)
	if err := dependency.Install(engine, w.Manifolds); err != nil {
		return fmt.Errorf("cannot install the workers: %w", err)
	}
	return nil
}

// Drain prepares the agent for the end of its engine, which the program kills next:
// the agent becomes unready, hands leadership over, releases the leases that are held
// through it, and answers the requests in progress. ctx bounds each of these steps.
// The error says which of them failed; the others have been taken.
func (w *Workers) Drain(ctx context.Context) error { return w.set.Drain(ctx) }

// Leave takes the agent out of its cluster: it hands leadership over, releases the leases
// that are held through it, has itself removed, and waits until raft's configuration is
// without it. The program calls Drain next, and kills the engine. With purge, raft's data
// is deleted then, as by Agent.Destroy. The last voter, and one without which there is no
// quorum, is refused with ErrConflict; the error is ErrUnavailable while the agent does
// not run. After an error it goes on, unless it has left.
func (w *Workers) Leave(ctx context.Context, purge bool) error {
	if err := w.set.Leave(ctx, purge); err != nil {
		return fmt.Errorf("cannot leave the cluster: %w", err)
	}
	return nil
}
