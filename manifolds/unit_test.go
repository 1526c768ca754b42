package manifolds

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/juju/clock"
	"github.com/juju/loggo"
	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"
	"gopkg.in/tomb.v2"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/gate"
)

// journal notes what happened, in order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
}

func (j *journal) all() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.lines)
}

// slow is a worker that takes a while to stop, and notes when it has.
type slow struct {
	tomb tomb.Tomb
}

func newSlow(j *journal, name string, stopping time.Duration) *slow {
	w := &slow{}
	j.add(name + " runs")
	w.tomb.Go(func() error {
		<-w.tomb.Dying()
		time.Sleep(stopping)
		j.add(name + " has stopped")
		return nil
	})
	return w
}

func (w *slow) Kill()       { w.tomb.Kill(nil) }
func (w *slow) Wait() error { return w.tomb.Wait() }

func newEngine(t *testing.T, set dependency.Manifolds) *dependency.Engine {
	t.Helper()
	engine, err := dependency.NewEngine(dependency.EngineConfig{
		IsFatal:     func(error) bool { return false },
		WorstError:  func(err, _ error) error { return err },
		ErrorDelay:  time.Second,
		BounceDelay: 10 * time.Millisecond,
		Clock:       clock.WallClock,
		Metrics:     dependency.DefaultMetrics(),
		Logger:      loggo.NewContext(loggo.ERROR).GetLogger("engine"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := dependency.Install(engine, set); err != nil {
		t.Fatal(err)
	}
	return engine
}

// stop ends a worker, which must not fail.
func stop(t *testing.T, w worker.Worker) {
	t.Helper()
	if err := worker.Stop(w); err != nil {
		t.Fatal(err)
	}
}

func same(name string) string { return name }

func ownerManifold(w func() worker.Worker, overstay func([]string)) dependency.Manifold {
	return node{start: func(*unit) (worker.Worker, error) { return w(), nil }}.manifold("owner", same, overstay)
}

func TestOwnerIsStoppedAfterItsVisitors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &journal{}
		engine := newEngine(t, dependency.Manifolds{
			"owner": ownerManifold(func() worker.Worker { return newSlow(j, "owner", 0) }, nil),
			"user": Gate("user", dependency.Manifold{
				Inputs: []string{"owner"},
				Start: func(dependency.Context) (worker.Worker, error) {
					return newSlow(j, "user", 5*time.Second), nil
				},
			}, "owner"),
		})
		time.Sleep(time.Second)
		stop(t, engine)
		want := []string{"owner runs", "user runs", "user has stopped", "owner has stopped"}
		if got := j.all(); !slices.Equal(got, want) {
			t.Fatalf("got %q, want %q", got, want)
		}
	})
}

func TestOwnerNamesWhoOverstays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &journal{}
		var stayed []string
		engine := newEngine(t, dependency.Manifolds{
			"owner": ownerManifold(func() worker.Worker { return newSlow(j, "owner", 0) }, func(names []string) { stayed = names }),
			"user": Gate("user", dependency.Manifold{
				Inputs: []string{"owner"},
				Start: func(dependency.Context) (worker.Worker, error) {
					return newSlow(j, "user", 20*time.Second), nil
				},
			}, "owner"),
		})
		time.Sleep(time.Second)
		stop(t, engine)
		want := []string{"owner runs", "user runs", "owner has stopped", "user has stopped"}
		if got := j.all(); !slices.Equal(got, want) || !slices.Equal(stayed, []string{"user"}) {
			t.Fatalf("got %q, stayed %q", got, stayed)
		}
	})
}

func TestPanicInStartIsAnErrorOfTheWorker(t *testing.T) {
	starts := newStarts()
	start := guard("x", dependency.Manifold{Start: func(dependency.Context) (worker.Worker, error) { panic("boom") }}, starts, nil)
	if _, err := start(nil); err == nil {
		t.Fatal("got no error")
	}
	if tried, err := starts.Last("x"); !tried || err == nil {
		t.Fatalf("the start is noted as %v, %v", tried, err)
	}
}

func TestASectionThatChangesAndChangesBackEndsItsWorker(t *testing.T) {
	c := newSections(config.Default())
	began, next := c.version(), config.Default()
	next.API.Listen = "127.0.0.1:1"
	c.Swap(next)
	c.Swap(config.Default())
	ended, end := context.WithCancel(t.Context())
	end() // for a loop that sees nothing
	for range 100 {
		if began.until(ended, func(c config.Config) bool { return pickAPI(c) != config.Default().API }) {
			return
		}
	}
	t.Error("it saw no change")
}

func TestReloadBouncesOnlyTheWorkersOfChangedSections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newSections(config.Default())
		j := &journal{}
		user := func(name, section string) dependency.Manifold {
			return dependency.Manifold{
				Inputs: []string{section},
				Start: func(ctx dependency.Context) (worker.Worker, error) {
					if err := ctx.Get(section, nil); err != nil {
						return nil, err
					}
					return newSlow(j, name, 0), nil
				},
			}
		}
		engine := newEngine(t, dependency.Manifolds{
			"config-api":    sectionNode(c, func(c config.Config) config.API { return c.API }).manifold("config-api", same, nil),
			"config-notify": sectionNode(c, func(c config.Config) config.Notify { return c.Notify }).manifold("config-notify", same, nil),
			"api":           user("api", "config-api"),
			"notify":        user("notify", "config-notify"),
		})
		time.Sleep(time.Second)
		next := config.Default()
		next.Notify.LeaseHolders = config.NotifyOff
		if changed := c.Swap(next); !slices.Equal(changed, []string{"notify"}) {
			t.Fatalf("got %q", changed)
		}
		time.Sleep(time.Second)
		stop(t, engine)
		got := j.all()
		slices.Sort(got)
		want := []string{"api has stopped", "api runs", "notify has stopped", "notify has stopped", "notify runs", "notify runs"}
		if !slices.Equal(got, want) {
			t.Fatalf("got %q, want %q", got, want)
		}
	})
}

// fakeLeases grants one key to whoever holds it, and notes what it is asked.
type fakeLeases struct {
	interrex.Leases
	j      *journal
	holds  chan *fakeHeld
	tokens interrex.Token
	asked  interrex.HoldOptions
}

func (f *fakeLeases) Hold(ctx context.Context, key string, o interrex.HoldOptions) (interrex.Held, error) {
	f.asked = o
	k, err := interrex.ParseKey(key)
	if err != nil {
		return nil, err
	}
	f.tokens++
	h := &fakeHeld{key: k, token: f.tokens, j: f.j}
	h.ctx, h.lose = context.WithCancelCause(ctx)
	select {
	case f.holds <- h:
		return h, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type fakeHeld struct {
	key   interrex.Key
	token interrex.Token
	ctx   context.Context
	lose  context.CancelCauseFunc
	j     *journal
}

func (h *fakeHeld) Key() interrex.Key                      { return h.key }
func (h *fakeHeld) Token() interrex.Token                  { return h.token }
func (h *fakeHeld) Context() context.Context               { return h.ctx }
func (h *fakeHeld) Check() error                           { return context.Cause(h.ctx) }
func (h *fakeHeld) Deadline() time.Time                    { return time.Time{} }
func (h *fakeHeld) Transfer(context.Context, string) error { return nil }
func (h *fakeHeld) Release(context.Context) error {
	h.lose(errors.New("released"))
	h.j.add("released " + h.token.String())
	return nil
}

// leaseWorld is an engine with a lease and a worker that needs it.
func leaseWorld(t *testing.T, stopping time.Duration, overstayed func(string, []string)) (*dependency.Engine, *fakeLeases, *journal) {
	j := &journal{}
	f := &fakeLeases{j: j, holds: make(chan *fakeHeld)}
	engine := newEngine(t, dependency.Manifolds{
		"leases": {
			Start: func(dependency.Context) (worker.Worker, error) { return newSlow(&journal{}, "leases", 0), nil },
			Output: func(_ worker.Worker, out any) error {
				if !assign(out, f) {
					return fmt.Errorf("cannot give a %T", out)
				}
				return nil
			},
		},
		"lease": Lease(LeaseConfig{
			LeasesName: "leases", Key: "mine/nightly", TTL: time.Minute, Holder: "ann",
			Metadata: map[string]string{"host": "h"}, Overstayed: overstayed,
		}),
		"nightly": WhileHeld("lease", dependency.Manifold{Start: func(ctx dependency.Context) (worker.Worker, error) {
			var held Held
			if err := ctx.Get("lease", &held); err != nil {
				return nil, err
			}
			return newSlow(j, "nightly "+held.Token().String(), stopping), nil
		}}),
	})
	return engine, f, j
}

func TestLeaseIsReleasedAfterItsUsersHaveStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, f, j := leaseWorld(t, 3*time.Second, nil)
		<-f.holds
		time.Sleep(time.Second)
		stop(t, engine)
		want := []string{"nightly 1 runs", "nightly 1 has stopped", "released 1"}
		if got := j.all(); !slices.Equal(got, want) {
			t.Fatalf("got %q, want %q", got, want)
		}
		if o := f.asked; o.TTL != time.Minute || o.Holder != "ann" || o.Metadata["host"] != "h" || o.Wait >= 0 {
			t.Errorf("the lease was asked for with %+v", o)
		}
	})
}

func TestLostLeaseStopsItsUsersAndTheNextHoldStartsThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, f, j := leaseWorld(t, time.Second, nil)
		h := <-f.holds
		time.Sleep(time.Second)
		h.lose(errors.New("not held"))
		lost := time.Now()
		<-f.holds
		if pause := time.Since(lost); pause > 1500*time.Millisecond { // its user stops for a second, and no failure is waited for
			t.Errorf("the next campaign begins %s after the loss", pause)
		}
		time.Sleep(time.Second)
		stop(t, engine)
		want := []string{"nightly 1 runs", "nightly 1 has stopped", "released 1", "nightly 2 runs", "nightly 2 has stopped", "released 2"}
		if got := j.all(); !slices.Equal(got, want) {
			t.Fatalf("got %q, want %q", got, want)
		}
	})
}

func TestLeaseWhoseUserOverstaysIsNotReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var stayed []string
		engine, f, j := leaseWorld(t, time.Minute, func(_ string, names []string) { stayed = names })
		<-f.holds
		time.Sleep(time.Second)
		stop(t, engine)
		if got := j.all(); slices.Contains(got, "released 1") || len(stayed) != 1 {
			t.Fatalf("got %q, stayed %q", got, stayed)
		}
	})
}

func TestCampaignEndsWithTheEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, _, j := leaseWorld(t, 0, nil)
		time.Sleep(time.Second)
		stop(t, engine)
		if got := j.all(); len(got) != 0 {
			t.Fatalf("got %q", got)
		}
	})
}

var _ gate.Flag = (*leaseHolder)(nil)

func TestALostLeaseIsNoFlagBeforeItsWorkerHasSeenIt(t *testing.T) {
	ctx, lose := context.WithCancel(t.Context())
	w := &leaseHolder{held: &fakeHeld{ctx: ctx}}
	if !w.Check() {
		t.Error("the lease is held, and its flag says no")
	}
	lose()
	if w.Check() {
		t.Error("the lease was lost, and its flag says yes")
	}
}

func TestTheThirtiethReloadIsTakenUpAsSoonAsTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newSections(config.Default())
		j := &journal{}
		section := sectionNode(c, pickNotify)
		start := section.start
		section.start = func(u *unit) (worker.Worker, error) {
			j.add("run")
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
		if err := engine.Install("section", section.manifold("section", same, nil)); err != nil {
			t.Fatal(err)
		}
		for i := range 30 {
			time.Sleep(20 * time.Millisecond)
			next := config.Default()
			next.Notify.LeaseHolders = []string{config.NotifyOff, config.NotifySQLite}[i%2]
			c.Swap(next)
		}
		time.Sleep(20 * time.Millisecond)
		if n := len(j.all()); n < 30 {
			t.Errorf("after 30 reloads it had %d runs", n)
		}
		stop(t, engine)
	})
}
