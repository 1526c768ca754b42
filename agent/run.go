package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/juju/clock"
	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"
)

// newRun makes an engine with all workers in it.
func (a *Agent) newRun() (*run, error) {
	c := a.config
	r := &run{}
	if c.Clock == nil {
		c.Clock = clock.WallClock
	}
	if c.Drain == nil {
		c.Drain = func(ctx context.Context) error { return r.drain(ctx) }
	}
	var err error
	if r.Workers, err = NewWorkers(c, ""); err != nil {
		return nil, err
	}
	if r.engine, err = dependency.NewEngine(engineConfig(c.Clock, r.set.EngineLogger())); err != nil {
		return nil, err
	}
	if err := r.Install(r.engine); err != nil {
		return nil, errors.Join(err, worker.Stop(r.engine))
	}
	return r, nil
}

// engineConfig says when the engine starts a worker again: 3 s after an error, 20 %
// later after each further one up to 5 s, and 2 ms after a bounce, which each level of
// the graph takes when the agent starts. Nothing that
// ends a worker ends the engine.
func engineConfig(c clock.Clock, logger dependency.Logger) dependency.EngineConfig {
	return dependency.EngineConfig{
		IsFatal:          func(error) bool { return false },
		WorstError:       func(err, _ error) error { return err },
		ErrorDelay:       3 * time.Second,
		BounceDelay:      2 * time.Millisecond,
		BackoffFactor:    1.2,
		BackoffResetTime: time.Minute,
		MaxDelay:         5 * time.Second,
		Clock:            c,
		Metrics:          dependency.DefaultMetrics(),
		Logger:           logger,
	}
}

// drain serves an operator's drain request: the agent drains, then stops.
func (r *run) drain(ctx context.Context) error {
	err := r.Drain(ctx)
	r.engine.Kill()
	if err != nil {
		return fmt.Errorf("the agent is stopping without having been drained: %w", err)
	}
	return nil
}

// bound waits until the workers that bind addresses have started. The error is
// that of a worker that failed to start; a worker that only waits for an input is
// not an error.
func (r *run) bound(ctx context.Context) error {
	for _, name := range r.set.Binders() {
		if err := r.started(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) started(ctx context.Context, name string) error {
	for {
		changed, failed := r.set.Lives.Failed(r.set.Extras()...)
		if failed != nil {
			return failed
		}
		tried, err := r.set.Lives.Last(name)
		if tried && err == nil {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%s has not started: %w", name, ctx.Err())
		}
	}
}
