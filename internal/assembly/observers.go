package assembly

import (
	"context"
	"errors"

	"github.com/juju/worker/v3"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/unit"
	"github.com/interrex/interrex/internal/watch"
)

// startObservers shows the embedder's observers what this agent applies.
func (s *Set) startObservers(u *unit.Unit) (worker.Worker, error) {
	ring := unit.Need[*watch.Ring](u, StateName)
	if u.Err != nil {
		return nil, u.Err
	}
	return unit.Run(func(ctx context.Context) error {
		err := s.config.Agent.Observers.Run(ctx, ring)
		if errors.Is(err, context.Canceled) || errors.Is(err, interrex.ErrWatchClosed) {
			return nil
		}
		return err
	}), nil
}
