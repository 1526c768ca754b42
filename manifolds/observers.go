package manifolds

import (
	"context"
	"errors"

	"github.com/juju/worker/v3"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/watch"
)

// startObservers sends the embedder's observers what this agent applies.
func (s *Set) startObservers(u *unit) (worker.Worker, error) {
	ring := need[*watch.Ring](u, StateName)
	if u.err != nil {
		return nil, u.err
	}
	return run(func(ctx context.Context) error {
		err := s.config.Agent.Observers.Run(ctx, ring)
		if errors.Is(err, context.Canceled) || errors.Is(err, interrex.ErrWatchClosed) {
			return nil
		}
		return err
	}), nil
}
