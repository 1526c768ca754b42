package agent

import (
	"context"
	"errors"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/internal/hold"
)

// restartWait is how long a call waits for a client that is about to start,
// because the agent has just been started or a reload restarts its API.
const restartWait = 5 * time.Second

var _ client.Caller = (*Agent)(nil)

// Client implements client.Caller: it returns the agent's client of its API, which lives
// as long as the agent's API. Typed clients of embedders' services take the Agent.
func (a *Agent) Client(ctx context.Context) (*client.Client, error) {
	end := a.end()
	r := a.running()
	if r == nil {
		return nil, interrex.Errorf(interrex.ErrUnavailable, "%v", ErrStopped).WithCause(ErrStopped)
	}
	ctx, cancel := context.WithTimeout(ctx, restartWait)
	defer cancel()
	for {
		changed, _ := r.set.Lives.Failed()
		if c := r.set.Client(); c != nil {
			return c, nil
		}
		select {
		case <-changed:
		case <-end:
			return nil, interrex.Errorf(interrex.ErrUnavailable, "%v", ErrStopped).WithCause(ErrStopped)
		case <-ctx.Done():
			return nil, interrex.Errorf(interrex.ErrUnavailable, "the agent's API is being restarted: try again").WithCause(ctx.Err())
		}
	}
}

// leases are those of the agent's current run.
type leases struct {
	interrex.Leases
	agent *Agent
}

// Run continues to campaign when its client is restarted. It needs no pause: a client
// closes its leases only after it was asked to stop, from when on Client waits for the
// next one; a drain, which closes them first, is known by then.
func (l leases) Run(ctx context.Context, key string, o interrex.HoldOptions, fn func(ctx context.Context, held interrex.Held) error) error {
	for {
		err := l.Leases.Run(ctx, key, o, fn)
		if !errors.Is(err, hold.ErrClosed) || ctx.Err() == nil && l.agent.Status().Draining {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}
