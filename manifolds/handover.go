package manifolds

import (
	"context"
	"time"

	"github.com/juju/clock"
	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"
	"gopkg.in/tomb.v2"
)

// How often an agent whose state machine is stopped looks whether it leads, and
// how long it leads at least before it hands leadership over once more: when all
// machines are stopped, leadership must not go round and round.
const (
	handOverEvery = 500 * time.Millisecond
	handOverPause = 5 * time.Minute
	handOverTime  = 10 * time.Second
)

func (s *Set) handOver() dependency.Manifold {
	return dependency.Manifold{
		Inputs: s.names(ClockName),
		Start: func(ctx dependency.Context) (worker.Worker, error) {
			now, err := get[clock.Clock](ctx, s.name(ClockName))
			if err != nil {
				return nil, err
			}
			w := &handOverWorker{set: s, clock: now}
			w.tomb.Go(w.loop)
			return w, nil
		},
	}
}

// handOverWorker gives leadership away where the embedder's state machine is
// stopped: a leader whose machine does not answer takes no command for it.
type handOverWorker struct {
	tomb  tomb.Tomb
	set   *Set
	clock clock.Clock
}

func (w *handOverWorker) loop() error {
	wait := handOverEvery
	for {
		select {
		case <-w.tomb.Dying():
			return nil
		case <-w.clock.After(wait):
		}
		wait = handOverEvery
		now := w.set.Present.now()
		if now.machine == nil || now.machine.Stopped() == nil || now.raft == nil || now.applier == nil || now.applier.ReadyTerm() == 0 {
			continue
		}
		ctx, cancel := context.WithTimeout(w.tomb.Context(context.Background()), handOverTime)
		err := now.raft.HandOver(ctx)
		cancel()
		if err != nil {
			w.set.logger("fsm").Warningf("%v; it is tried again", err)
			continue
		}
		wait = handOverPause
	}
}

// Kill ends the worker.
func (w *handOverWorker) Kill() { w.tomb.Kill(nil) }

// Wait returns when it has ended.
func (w *handOverWorker) Wait() error { return w.tomb.Wait() }
