package assembly

import (
	"context"
	"errors"

	"github.com/juju/worker/v3"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/services"
	"github.com/interrex/interrex/internal/unit"
	"github.com/interrex/interrex/internal/watch"
	"github.com/interrex/interrex/state"
)

// startObservers shows the embedder's observers what this agent applies.
func (s *Set) startObservers(u *unit.Unit) (worker.Worker, error) {
	ring := unit.Need[*watch.Ring](u, StateName)
	if u.Err != nil {
		return nil, u.Err
	}
	return unit.Run(func(ctx context.Context) error {
		err := s.config.Agent.Observers.Run(ctx, ring, services.Published)
		if errors.Is(err, context.Canceled) || errors.Is(err, interrex.ErrWatchClosed) {
			return nil
		}
		return err
	}), nil
}

// observe returns the function that shows observers what raft does.
func (s *Set) observe() func(kind, peer string, e interrex.RaftEvent) {
	if s.config.Agent.Observers == nil {
		return nil
	}
	return func(kind, peer string, e interrex.RaftEvent) {
		s.config.Agent.Observers.Publish(state.Event{Kind: kind, Key: peer, Wall: s.config.Agent.Clock.Now().UTC(), Value: e})
	}
}
