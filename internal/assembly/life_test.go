package assembly

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
	"github.com/interrex/interrex/internal/leaseworker"
	"github.com/interrex/interrex/internal/peering"
	"github.com/interrex/interrex/internal/pipe"
	"github.com/interrex/interrex/internal/testworker"
	"github.com/interrex/interrex/internal/unit"
	"github.com/interrex/interrex/raftworker"
)

func TestWhoOverstaysIsReportedLoggedAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said log
		s, err := New(Config{Prefix: "my-", Agent: AgentConfig{Logger: said.context(t)}})
		if err != nil {
			t.Fatal(err)
		}
		name := s.Name(QueueName)
		engine := testworker.Engine(t, dependency.Manifolds{"my-clock": s.Manifolds["my-clock"], name: s.Manifolds[name]})
		time.Sleep(time.Second)
		var entrance gate.Entrance
		if err := unit.Output(s.Lives.Worker(name), &entrance); err != nil {
			t.Fatal(err)
		}
		v, err := entrance.Enter("the test")
		if err != nil {
			t.Fatal(err)
		}
		if is := reportOf(engine.Report(), name)[dependency.KeyReport].(map[string]any); is["visitors"] != "the test" {
			t.Errorf("the report says %v", is)
		}
		testworker.Stop(t, engine)
		v.Leave()
		if want := "[the test] still use my-queue, which stops without waiting longer"; !said.has(want) {
			t.Errorf("the log says %q", said.lines)
		}
		if n := measured(t, s)["interrex_lease_overstayed_total"]; n != 1 {
			t.Errorf("%v are counted", n)
		}
	})
}

// A program may kill a worker that it gets as an input; the engine would leave it
// stopped.
func TestAWorkerThatAProgramHasKilledIsStartedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		time.Sleep(time.Minute)
		var raft *raftworker.Worker
		if err := unit.Output(w.Lives.Worker(RaftName), &raft); err != nil {
			t.Fatal(err)
		}
		var port *peering.Transport
		if err := unit.Output(w.Lives.Worker(TransportName), &port); err != nil {
			t.Fatal(err)
		}
		for _, killed := range []struct {
			name  string
			given worker.Worker
		}{{RaftName, raft}, {TransportName, port}} {
			before := w.Lives.Worker(killed.name)
			killed.given.Kill()
			time.Sleep(time.Minute)
			if after := w.Lives.Worker(killed.name); after == nil || after == before {
				t.Errorf("%s is not started again", killed.name)
			}
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
		j := &testworker.Journal{}
		for name, m := range map[string]dependency.Manifold{
			"nightly-lease": leaseworker.Manifold(leaseworker.Config{LeasesName: LeasesName, Key: "mine/nightly", TTL: time.Hour}),
			"nightly": unit.Gate("worker of nightly-lease", dependency.Manifold{Start: func(ctx dependency.Context) (worker.Worker, error) {
				if err := ctx.Get("nightly-lease", nil); err != nil {
					return nil, err
				}
				return testworker.Slow(j, "nightly", 2*time.Second), nil
			}}, "nightly-lease"),
		} {
			if err := w.engine.Install(name, m); err != nil {
				t.Fatal(err)
			}
		}
		w.settle(t)
		testworker.Stop(t, w.engine)
		if got := j.All(); !slices.Equal(got, []string{"nightly runs", "nightly has stopped"}) {
			t.Errorf("got %q", got)
		}
		again := newWorld(t, func(c *AgentConfig) { c.DataDir = w.config.Agent.DataDir })
		again.settle(t)
		_, _, err := again.Client().Leases().Get(t.Context(), interrex.Key{Namespace: "mine", Name: "nightly"}, interrex.ReadOptions{})
		if !errors.Is(err, interrex.ErrNotFound) {
			t.Errorf("the lease is held still: %v", err)
		}
		testworker.Stop(t, again.engine)
	})
}

// A reload of the features is not held up by a program's worker that waits for a
// lease that another one holds.
func TestACampaignDoesNotHoldUpARestartOfTheAPI(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		if err := w.engine.Install("nightly-lease", leaseworker.Manifold(leaseworker.Config{LeasesName: LeasesName, Key: "mine/nightly", TTL: time.Hour})); err != nil {
			t.Fatal(err)
		}
		w.settle(t)
		if err := w.engine.Install("second-lease", leaseworker.Manifold(leaseworker.Config{LeasesName: LeasesName, Key: "mine/nightly", TTL: time.Hour, Holder: "second"})); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		for _, name := range []string{apiName, LeasesName, ClientName, StateName} {
			owner := w.Lives.Worker(name)
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
		testworker.Stop(t, w.engine)
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
			"127.0.0.1:7400": {apiForwardedName, apiPeersName, backstopName, custodyName, rotationName, renewalName, clustererName, compareName, forwarderName, joiningName, LeaderName, RaftName, readsName, TransportName, WebhooksName},
		} {
			runs := w.runs(apiName)
			taken.Store(address)
			for _, name := range needs {
				if u, is := w.Lives.Worker(name).(*unit.Unit); is {
					u.Kill()
				}
			}
			w.settle(t, needs...)
			if _, err := w.Lives.Failed(); err == nil || !strings.Contains(err.Error(), address+" is taken") {
				t.Errorf("the failure is %v", err)
			}
			taken.Store("")
			w.settle(t)
			if is := w.runs(apiName); is != runs {
				t.Errorf("the API was restarted with %s", address)
			}
		}
		testworker.Stop(t, w.engine)
	})
}

func TestADirectoryThatAnotherAgentHasIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := newWorld(t)
		first.settle(t)
		second := newWorld(t, func(c *AgentConfig) { c.DataDir = first.config.Agent.DataDir })
		time.Sleep(10 * time.Second)
		if err := second.Lives.Down(identityName); err == nil || !strings.Contains(err.Error(), "agent a1, process") || !strings.Contains(err.Error(), filepath.Base(first.config.Agent.DataDir)) {
			t.Errorf("it says %v", err)
		}
		testworker.Stop(t, first.engine)
		second.settle(t)
		testworker.Stop(t, second.engine)
	})
}
