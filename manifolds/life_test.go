package manifolds

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/juju/loggo"
	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gate"
	"github.com/interrex/interrex/internal/pipe"
)

// owns is a node whose worker frees something, which is noted.
func owns(j *journal, name string, visits ...string) node {
	return node{visits: visits, start: func(u *unit) (worker.Worker, error) {
		u.after(func() { j.add(name + " is free") })
		return newSlow(j, name, 0), nil
	}}
}

// engineOf is an engine of nodes.
func engineOf(t *testing.T, nodes map[string]node, others dependency.Manifolds) *dependency.Engine {
	t.Helper()
	set := dependency.Manifolds{}
	for name, n := range nodes {
		set[name] = n.manifold(name, same, nil)
		m := set[name]
		m.Start = guard(name, m, newStarts(), nil)
		set[name] = m
	}
	for name, m := range others {
		set[name] = m
	}
	return newEngine(t, set)
}

func TestAStartThatFailsLeavesNothingBehind(t *testing.T) {
	for how, fail := range map[string]func() error{
		"fails":  func() error { return dependency.ErrMissing },
		"panics": func() error { panic("boom") },
	} {
		synctest.Test(t, func(t *testing.T) {
			j := &journal{}
			engine := engineOf(t, map[string]node{
				"owner": owns(j, "owner"),
				"user": {visits: []string{"owner"}, start: func(u *unit) (worker.Worker, error) {
					u.after(func() { j.add("user is free") })
					u.follow(make(chan struct{}), nil)
					return nil, fail()
				}},
			}, nil)
			time.Sleep(time.Millisecond * 500)
			began := time.Now()
			stop(t, engine)
			if took := time.Since(began); took > 0 {
				t.Errorf("a start that %s is waited for: %s", how, took)
			}
			if got, want := j.all(), []string{"owner runs", "user is free", "owner has stopped", "owner is free"}; !slices.Equal(got, want) {
				t.Errorf("a start that %s: got %q, want %q", how, got, want)
			}
		})
	}
}

func TestWhatCannotBeFreedIsTheErrorOfTheWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &journal{}
		n := node{start: func(u *unit) (worker.Worker, error) {
			u.after(func() { j.add("first") })
			u.free(func() error { j.add("second"); return errors.New("the disk is gone") })
			return newSlow(j, "it", 0), nil
		}}
		w, err := n.manifold("it", same, nil).Start(given(nil))
		if err != nil {
			t.Fatal(err)
		}
		if err := worker.Stop(w); err == nil || err.Error() != "the disk is gone" {
			t.Errorf("got %v", err)
		}
		if got, want := j.all(), []string{"it runs", "it has stopped", "second", "first"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// An owner does not wait for a visitor whose start has not ended.
func TestAStartThatIsUnderWayEndsWithWhatItVisits(t *testing.T) {
	waiting := dependency.Manifold{Start: waits}
	for name, m := range map[string]dependency.Manifold{
		"a gate":       Gate("user", waiting, "owner"),
		"two gates":    Gate("user", Gate("user", waiting, "owner"), "other"),
		"a campaign":   Lease(LeaseConfig{LeasesName: "owner", Key: "mine/nightly"}),
		"a late start": Gate("user", dependency.Manifold{Start: startsLate}, "owner"),
	} {
		synctest.Test(t, func(t *testing.T) {
			owner, err := owns(&journal{}, "owner").manifold("owner", same, nil).Start(given(nil))
			if err != nil {
				t.Fatal(err)
			}
			leases := &fakeLeases{holds: make(chan *fakeHeld)} // nobody gets one
			started := make(chan worker.Worker)
			go func() {
				w, _ := m.Start(given{"owner": {leases, &owner.(*unit).door}, "other": {new(gate.Gate)}})
				started <- w
			}()
			synctest.Wait()
			began := time.Now()
			stop(t, owner)
			if took := time.Since(began); took > 0 {
				t.Errorf("the owner waited %s for %s", took, name)
			}
			if w := <-started; w != nil && !ended(w) {
				t.Errorf("%s goes on", name)
			}
		})
	}
}

// waits is a start that goes on until it is aborted.
func waits(ctx dependency.Context) (worker.Worker, error) {
	<-ctx.Abort()
	return nil, dependency.ErrMissing
}

// startsLate is a start that does not end when it is aborted.
func startsLate(ctx dependency.Context) (worker.Worker, error) {
	<-ctx.Abort()
	return newSlow(&journal{}, "user", 0), nil
}

func TestAClosedOwnerIsMissing(t *testing.T) {
	u := &unit{name: "owner"}
	u.door.Close(t.Context())
	_, err := node{visits: []string{"owner"}, start: func(*unit) (worker.Worker, error) {
		t.Error("it starts")
		return nil, nil
	}}.manifold("user", same, nil).Start(given{"owner": {&u.door}})
	if !errors.Is(err, dependency.ErrMissing) || !strings.Contains(err.Error(), "cannot visit owner") {
		t.Errorf("got %v", err)
	}
}

func TestAnOutputThatIsNotThereIsSaid(t *testing.T) {
	u := &unit{name: "owner"}
	u.give(7, nil, "x")
	u.give(new(gate.Gate), (error)(nil))
	var number int
	if err := output(u, &number); err != nil || number != 7 {
		t.Errorf("got %d, %v", number, err)
	}
	var entrance Entrance
	if err := output(u, &entrance); err != nil || entrance != u.values[3] {
		t.Errorf("what is given comes first: %v, %v", entrance, err)
	}
	var err error
	for out, want := range map[any]string{
		&err:                     "owner has no output of type error",
		new(float64):             "owner has no output of type float64",
		(*int)(nil):              "owner has no output of type int",
		7:                        "owner has no output of type int, which is no pointer",
		new(*journal):            "owner has no output of type *manifolds.journal",
		any(nil):                 "owner has no output of type <nil>, which is no pointer",
		new(dependency.Manifold): "owner has no output of type dependency.Manifold",
	} {
		if err := output(u, out); err == nil || err.Error() != want {
			t.Errorf("%T: got %v, want %q", out, err, want)
		}
	}
	if err := output(newSlow(&journal{}, "x", 0), &number); err == nil || !strings.Contains(err.Error(), "expected a worker of package manifolds, got *manifolds.slow") {
		t.Errorf("got %v", err)
	}
}

func TestWhoOverstaysIsReportedLoggedAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said log
		s, err := New(Config{Prefix: "my-", Agent: AgentConfig{Logger: said.context(t)}})
		if err != nil {
			t.Fatal(err)
		}
		name := s.name(QueueName)
		engine := newEngine(t, dependency.Manifolds{"my-clock": s.Manifolds["my-clock"], name: s.Manifolds[name]})
		time.Sleep(time.Second)
		var entrance Entrance
		if err := output(s.Starts.worker(name), &entrance); err != nil {
			t.Fatal(err)
		}
		v, err := entrance.Enter("the test")
		if err != nil {
			t.Fatal(err)
		}
		if is := reportOf(engine.Report(), name)[dependency.KeyReport].(map[string]any); is["visitors"] != "the test" {
			t.Errorf("the report says %v", is)
		}
		stop(t, engine)
		v.Leave()
		if want := "[the test] still use my-queue, which stops without waiting longer"; !said.has(want) {
			t.Errorf("the log says %q", said.lines)
		}
		if n := measured(t, s)["interrex_lease_overstayed_total"]; n != 1 {
			t.Errorf("%v are counted", n)
		}
	})
}

// log keeps what is logged.
type log struct {
	mu    sync.Mutex
	lines []string
}

// Write implements loggo.Writer.
func (l *log) Write(e loggo.Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, e.Message)
}

func (l *log) has(line string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Contains(l.lines, line)
}

func (l *log) context(t *testing.T) *loggo.Context {
	t.Helper()
	c := loggo.NewContext(loggo.WARNING)
	if err := c.AddWriter("test", l); err != nil {
		t.Fatal(err)
	}
	return c
}

// What runs under a lease in the program's engine ends, and then the lease, before
// the log does that has to say so.
func TestALeaseOfTheProgramsEngineIsReleasedWhenEverythingStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		j := &journal{}
		for name, m := range map[string]dependency.Manifold{
			"nightly-lease": Lease(LeaseConfig{LeasesName: LeasesName, Key: "mine/nightly", TTL: time.Hour}),
			"nightly": WhileHeld("nightly-lease", dependency.Manifold{Start: func(ctx dependency.Context) (worker.Worker, error) {
				if err := ctx.Get("nightly-lease", nil); err != nil {
					return nil, err
				}
				return newSlow(j, "nightly", 2*time.Second), nil
			}}),
		} {
			if err := w.engine.Install(name, m); err != nil {
				t.Fatal(err)
			}
		}
		w.settle(t)
		stop(t, w.engine)
		if got := j.all(); !slices.Equal(got, []string{"nightly runs", "nightly has stopped"}) {
			t.Errorf("got %q", got)
		}
		again := newWorld(t, func(c *AgentConfig) { c.DataDir = w.config.Agent.DataDir })
		again.settle(t)
		_, _, err := again.Client().Leases().Get(t.Context(), interrex.Key{Namespace: "mine", Name: "nightly"}, interrex.ReadOptions{})
		if !errors.Is(err, interrex.ErrNotFound) {
			t.Errorf("the lease is held still: %v", err)
		}
		stop(t, again.engine)
	})
}

// A reload of the features is not held up by a program's worker that waits for a
// lease that another one holds.
func TestACampaignDoesNotHoldUpARestartOfTheAPI(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		if err := w.engine.Install("nightly-lease", Lease(LeaseConfig{LeasesName: LeasesName, Key: "mine/nightly", TTL: time.Hour})); err != nil {
			t.Fatal(err)
		}
		w.settle(t)
		if err := w.engine.Install("second-lease", Lease(LeaseConfig{LeasesName: LeasesName, Key: "mine/nightly", TTL: time.Hour, Holder: "second"})); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		for _, name := range []string{apiName, LeasesName, ClientName, StateName} {
			owner := w.Starts.worker(name)
			began := time.Now()
			owner.Kill()
			if err := owner.Wait(); err != nil {
				t.Error(err)
			}
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("the end of %s took %s", name, took)
			}
			w.settle(t)
		}
		stop(t, w.engine)
	})
}

// An address that cannot be bound, or a directory that another agent has, keeps
// only what needs it from running, until it is free.
func TestWhatIsTakenIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var taken atomic.Value
		taken.Store("")
		w := newWorld(t, func(c *AgentConfig) {
			c.Cluster.Listen = "127.0.0.1:7400"
			c.Listen = func(network, address string) (net.Listener, error) {
				if is := taken.Load().(string); is == address || is == network {
					return nil, fmt.Errorf("%s is taken", is)
				}
				return pipe.Listen(), nil
			}
		})
		w.settle(t)
		for address, needs := range map[string][]string{
			"unix":           {apiSocketName},
			"127.0.0.1:0":    {APIListenerName},
			"127.0.0.1:7400": {apiPeersName, forwarderName, LeaderName, RaftName, readsName, TransportName, WebhooksName},
		} {
			runs := w.runs(apiName)
			taken.Store(address)
			for _, name := range needs {
				if u, is := w.Starts.worker(name).(*unit); is {
					u.Kill()
				}
			}
			w.settle(t, needs...)
			if _, err := w.Starts.Failed(); err == nil || !strings.Contains(err.Error(), address+" is taken") {
				t.Errorf("the failure is %v", err)
			}
			taken.Store("")
			w.settle(t)
			if is := w.runs(apiName); is != runs {
				t.Errorf("the API was restarted with %s", address)
			}
		}
		stop(t, w.engine)
	})
}

func TestADirectoryThatAnotherAgentHasIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := newWorld(t)
		first.settle(t)
		second := newWorld(t, func(c *AgentConfig) { c.DataDir = first.config.Agent.DataDir })
		time.Sleep(10 * time.Second)
		if err := second.Starts.Down(identityName); err == nil || !strings.Contains(err.Error(), "agent a1, process") || !strings.Contains(err.Error(), filepath.Base(first.config.Agent.DataDir)) {
			t.Errorf("it says %v", err)
		}
		stop(t, first.engine)
		second.settle(t)
		stop(t, second.engine)
	})
}

func TestWhatEndsByItselfIsFreedAfterItsVisitors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &journal{}
		owner := newSlow(j, "owner", 0)
		engine := engineOf(t, map[string]node{
			"owner": {start: func(u *unit) (worker.Worker, error) {
				u.after(func() { j.add("owner is free") })
				return owner, nil
			}, filter: func(error) error { return dependency.ErrUninstall }},
			"user": {visits: []string{"owner"}, start: func(*unit) (worker.Worker, error) { return newSlow(j, "user", time.Second), nil }},
		}, nil)
		time.Sleep(500 * time.Millisecond)
		owner.Kill()
		time.Sleep(2 * time.Second)
		stop(t, engine)
		if got, want := j.all(), []string{"owner runs", "user runs", "owner has stopped", "user has stopped", "owner is free"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}
