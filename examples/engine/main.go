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

	"github.com/interrex/interrex/manifolds"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	engine, err := newEngine(manifolds.AgentConfig{}, func(held manifolds.Held) {
		fmt.Printf("this machine does the nightly work, under token %s\n", held.Token())
	})
	if err != nil {
		log.Fatal(err)
	}
	context.AfterFunc(ctx, engine.Kill)
	if err := engine.Wait(); err != nil {
		log.Fatal(err)
	}
}

// newEngine runs all workers of an agent and, while its lease is held, the nightly
// one, which sends to began each time it starts.
func newEngine(agent manifolds.AgentConfig, began func(manifolds.Held)) (*dependency.Engine, error) {
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
		return nil, err
	}
	set := manifolds.Manifolds(manifolds.Config{Agent: agent, Prefix: manifolds.DefaultPrefix})
	// So that the agent's workers know when everything stops, and "interrex agent
	// report" shows the program's workers too.
	set[manifolds.EngineName] = manifolds.Engine(engine)
	set["nightly-lease"] = manifolds.Lease(manifolds.LeaseConfig{
		LeasesName: manifolds.LeasesName, Key: "mine/nightly", TTL: 15 * time.Second,
	})
	set["nightly"] = manifolds.WhileHeld("nightly-lease", dependency.Manifold{
		Start: func(ctx dependency.Context) (worker.Worker, error) {
			var held manifolds.Held
			if err := ctx.Get("nightly-lease", &held); err != nil {
				return nil, err
			}
			return newNightly(held, began)
		},
	})
	if err := dependency.Install(engine, set); err != nil {
		return nil, errors.Join(err, worker.Stop(engine))
	}
	return engine, nil
}

// nightly is the program's own worker. It works until it is killed; the lease
// is released after its Wait has returned.
type nightly struct{ catacomb catacomb.Catacomb }

func newNightly(held manifolds.Held, began func(manifolds.Held)) (*nightly, error) {
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
