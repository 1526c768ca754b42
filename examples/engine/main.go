// Command engine is a program that puts an agent into its own dependency engine.
// Its worker runs on one machine at a time: while a lease is held.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os/signal"
	"syscall"
	"time"

	"github.com/juju/clock"
	"github.com/juju/loggo"
	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/catacomb"
	"github.com/juju/worker/v3/dependency"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/agent"
	"github.com/interrex/interrex/manifolds"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	engine, drain, err := newEngine(agent.Config{}, func(held interrex.Held) {
		fmt.Printf("this machine does the nightly work, under token %s\n", held.Token())
	})
	if err != nil {
		log.Fatal(err)
	}
	context.AfterFunc(ctx, func() {
		if err := drain(context.Background()); err != nil {
			log.Print(err)
		}
	})
	if err := engine.Wait(); err != nil {
		log.Fatal(err)
	}
}

// newEngine runs all workers of an agent and, while its lease is held, the nightly
// one, which sends to began each time it starts. drain ends them politely: it is for
// the program, and for "interrex agent drain".
func newEngine(c agent.Config, began func(interrex.Held)) (_ *dependency.Engine, drain func(context.Context) error, err error) {
	engine, err := dependency.NewEngine(dependency.EngineConfig{
		IsFatal:          func(error) bool { return false },
		WorstError:       func(err, _ error) error { return err },
		ErrorDelay:       time.Second,
		BounceDelay:      10 * time.Millisecond,
		BackoffFactor:    1.2,
		BackoffResetTime: time.Minute,
		MaxDelay:         time.Minute,
		Clock:            clock.WallClock,
		Metrics:          dependency.DefaultMetrics(),
		Logger:           loggo.GetLogger("engine"),
	})
	if err != nil {
		return nil, nil, err
	}
	var workers *agent.Workers
	drain = func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, agent.StopTimeout)
		defer cancel()
		defer engine.Kill()
		return workers.Drain(ctx)
	}
	c.Drain = drain
	if workers, err = agent.NewWorkers(c, manifolds.DefaultPrefix); err != nil {
		return nil, nil, errors.Join(err, worker.Stop(engine))
	}
	workers.Manifolds["nightly-lease"] = manifolds.Lease(manifolds.LeaseConfig{
		LeasesName: manifolds.LeasesName, Key: "mine/nightly", TTL: 15 * time.Second,
	})
	workers.Manifolds["nightly"] = manifolds.WhileHeld("nightly-lease", dependency.Manifold{
		Start: func(ctx dependency.Context) (worker.Worker, error) {
			var held interrex.Held
			if err := ctx.Get("nightly-lease", &held); err != nil {
				return nil, err
			}
			return newNightly(held, began)
		},
	})
	if err := workers.Install(engine); err != nil {
		return nil, nil, errors.Join(err, worker.Stop(engine))
	}
	return engine, drain, nil
}

// nightly is the program's own worker. It works until it is killed; the lease
// is released after its Wait has returned.
type nightly struct{ catacomb catacomb.Catacomb }

func newNightly(held interrex.Held, began func(interrex.Held)) (*nightly, error) {
	n := &nightly{}
	return n, catacomb.Invoke(catacomb.Plan{Site: &n.catacomb, Work: func() error {
		began(held)
		<-n.catacomb.Dying()
		return nil
	}})
}

// Kill asks the work to stop.
func (n *nightly) Kill() { n.catacomb.Kill(nil) }

// Wait returns when the work has stopped.
func (n *nightly) Wait() error { return n.catacomb.Wait() }
