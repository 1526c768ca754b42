package agent_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/juju/clock"
	"github.com/juju/loggo"
	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/catacomb"
	"github.com/juju/worker/v3/dependency"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/agent"
	"github.com/interrex/interrex/internal/hold"
	"github.com/interrex/interrex/manifolds"
)

// job is a program's own worker: it runs until it is killed.
type job struct {
	catacomb.Catacomb
}

func newJob(do func(context.Context)) (worker.Worker, error) {
	j := &job{}
	return j, catacomb.Invoke(catacomb.Plan{Site: &j.Catacomb, Work: func() error {
		do(j.Context(context.Background()))
		<-j.Dying()
		return j.ErrDying()
	}})
}

func (j *job) Kill()       { j.Catacomb.Kill(nil) }
func (j *job) Wait() error { return j.Catacomb.Wait() }

// A program puts an agent into its own engine, under names of its own, without the
// webhooks, and uses its leases there.
func TestAProgramsEngineTakesAnAgentUnderNamesOfItsOwn(t *testing.T) {
	for _, known := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			engine, err := dependency.NewEngine(dependency.EngineConfig{
				IsFatal: func(error) bool { return false }, WorstError: func(a, _ error) error { return a },
				ErrorDelay: time.Second, BounceDelay: time.Millisecond, Clock: clock.WallClock,
				Metrics: dependency.DefaultMetrics(), Logger: loggo.NewContext(loggo.CRITICAL).GetLogger("engine"),
			})
			if err != nil {
				t.Fatal(err)
			}
			workers, err := agent.NewWorkers(agent.Config{
				ID: "theirs", Logger: loggo.NewContext(loggo.CRITICAL), HoldClock: hold.Since(time.Now()),
			}, "their/")
			if err != nil {
				t.Fatal(err)
			}
			set := workers.Manifolds
			delete(set, workers.Name(manifolds.DefaultPrefix+"webhooks"))
			leases := workers.Name(manifolds.LeasesName)
			claimed := make(chan error, 1)
			set["claimer"] = manifolds.Gate("claimer", dependency.Manifold{
				Start: func(ctx dependency.Context) (worker.Worker, error) {
					var l interrex.Leases
					if err := ctx.Get(leases, &l); err != nil {
						return nil, err
					}
					return newJob(func(ctx context.Context) {
						_, err := l.Claim(ctx, interrex.ClaimRequest{Key: interrex.Key{Namespace: "mine", Name: "db"}, Holder: "me", TTL: time.Minute})
						claimed <- err
					})
				},
			}, leases)
			install := func() error { return dependency.Install(engine, set) }
			if known {
				install = func() error { return workers.Install(engine) }
			}
			if err := install(); err != nil {
				t.Fatal(err)
			}
			if err := <-claimed; err != nil {
				t.Errorf("a claim: %v", err)
			}
			began := time.Now()
			if err := worker.Stop(engine); err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			if took := time.Since(began); took > time.Second {
				t.Errorf("the end took %s", took)
			}
		})
	}
}
