package sections

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/juju/clock"
	"github.com/juju/loggo"
	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"

	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/testworker"
	"github.com/interrex/interrex/internal/unit"
)

func TestASectionThatChangesAndChangesBackEndsItsWorker(t *testing.T) {
	c := New(config.Default())
	began, next := c.version(), config.Default()
	next.API.Listen = "127.0.0.1:1"
	c.Swap(next)
	c.Swap(config.Default())
	ended, end := context.WithCancel(t.Context())
	end() // for a loop that sees nothing
	for range 100 {
		if began.until(ended, func(c config.Config) bool { return c.API != config.Default().API }) {
			return
		}
	}
	t.Error("it saw no change")
}

func TestReloadBouncesOnlyTheWorkersOfChangedSections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(config.Default())
		j := &testworker.Journal{}
		user := func(name, section string) dependency.Manifold {
			return dependency.Manifold{
				Inputs: []string{section},
				Start: func(ctx dependency.Context) (worker.Worker, error) {
					if err := ctx.Get(section, nil); err != nil {
						return nil, err
					}
					return testworker.Slow(j, name, 0), nil
				},
			}
		}
		engine := testworker.Engine(t, dependency.Manifolds{
			"config-api":    Node(c, func(c config.Config) config.API { return c.API }).Manifold("config-api", strings.Clone, nil),
			"config-notify": Node(c, func(c config.Config) config.Notify { return c.Notify }).Manifold("config-notify", strings.Clone, nil),
			"api":           user("api", "config-api"),
			"notify":        user("notify", "config-notify"),
		})
		time.Sleep(time.Second)
		next := config.Default()
		next.Notify.LeaseHolders = "off"
		if changed := c.Swap(next); !slices.Equal(changed, []string{"notify"}) {
			t.Fatalf("got %q", changed)
		}
		time.Sleep(time.Second)
		testworker.Stop(t, engine)
		got := j.All()
		slices.Sort(got)
		want := []string{"api has stopped", "api runs", "notify has stopped", "notify has stopped", "notify runs", "notify runs"}
		if !slices.Equal(got, want) {
			t.Fatalf("got %q, want %q", got, want)
		}
	})
}

func TestTheThirtiethReloadIsTakenUpAsSoonAsTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(config.Default())
		j := &testworker.Journal{}
		section := Node(c, func(c config.Config) config.Notify { return c.Notify })
		start := section.Start
		section.Start = func(u *unit.Unit) (worker.Worker, error) {
			j.Add("run")
			return start(u)
		}
		engine, err := dependency.NewEngine(dependency.EngineConfig{
			IsFatal: func(error) bool { return false }, WorstError: func(err, _ error) error { return err },
			ErrorDelay: time.Second, BounceDelay: 10 * time.Millisecond, BackoffFactor: 1.2, BackoffResetTime: time.Minute, MaxDelay: 5 * time.Second,
			Clock: clock.WallClock, Metrics: dependency.DefaultMetrics(), Logger: loggo.NewContext(loggo.ERROR).GetLogger("engine"),
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := engine.Install("section", section.Manifold("section", strings.Clone, nil)); err != nil {
			t.Fatal(err)
		}
		for i := range 30 {
			time.Sleep(20 * time.Millisecond)
			next := config.Default()
			next.Notify.LeaseHolders = []string{"off", "sqlite"}[i%2]
			c.Swap(next)
		}
		time.Sleep(20 * time.Millisecond)
		if n := len(j.All()); n < 30 {
			t.Errorf("after 30 reloads it had %d runs", n)
		}
		testworker.Stop(t, engine)
	})
}
