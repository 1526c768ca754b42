package manifolds

import (
	"context"
	"errors"

	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"
	"gopkg.in/tomb.v2"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/watch"
)

// observers shows the embedder's observers what this agent applies.
func (s *Set) observers() dependency.Manifold {
	return dependency.Manifold{
		Inputs: s.names(StateName),
		Start: func(ctx dependency.Context) (worker.Worker, error) {
			ring, err := get[*watch.Ring](ctx, s.name(StateName))
			if err != nil {
				return nil, err
			}
			w := &observersWorker{}
			w.tomb.Go(func() error {
				err := s.config.Agent.Observers.Run(w.tomb.Context(context.Background()), ring)
				if errors.Is(err, context.Canceled) || errors.Is(err, interrex.ErrWatchClosed) {
					return nil
				}
				return err
			})
			return w, nil
		},
	}
}

type observersWorker struct{ tomb tomb.Tomb }

// Kill ends the worker.
func (w *observersWorker) Kill() { w.tomb.Kill(nil) }

// Wait returns when no filter runs any more.
func (w *observersWorker) Wait() error { return w.tomb.Wait() }
