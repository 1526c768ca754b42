package agent_test

import (
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/interrex/interrex/agent"
	"github.com/interrex/interrex/config"
)

// gathered returns the names of a registry's metrics, and the values of their labels
// "agent".
func gathered(t *testing.T, r prometheus.Gatherer) (names, agents []string) {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, f := range families {
		names = append(names, f.GetName())
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "agent" {
					found[l.GetValue()] = true
				}
			}
		}
	}
	return names, slices.Sorted(maps.Keys(found))
}

// wholesome says that a registry has an agent's metrics, of all its parts.
func wholesome(t *testing.T, r prometheus.Gatherer) {
	t.Helper()
	names, _ := gathered(t, r)
	for _, name := range []string{"interrex_build_info", "interrex_raft_term", "interrex_queue_depth", "interrex_watchers", "interrex_api_request_duration_seconds"} {
		if !slices.Contains(names, name) {
			t.Errorf("the registry has no %s", name)
		}
	}
}

func empty(t *testing.T, r prometheus.Gatherer) {
	t.Helper()
	if names, _ := gathered(t, r); len(names) > 0 {
		t.Errorf("the registry still has %v", names)
	}
}

func TestAnAgentIsStartedAgainWithItsRegistry(t *testing.T) {
	registry := prometheus.NewRegistry()
	c := quiet(t)
	c.Registry = registry
	a := newAgent(t, c)
	for range 2 {
		start(t, a)
		wholesome(t, registry)
		stop(t, a)
		empty(t, registry)
	}
	start(t, a)
	a.Kill()
	if err := a.Wait(); err != nil {
		t.Fatal(err)
	}
	empty(t, registry)
}

func TestARestartOfRaftKeepsTheRegistryWhole(t *testing.T) {
	registry := prometheus.NewRegistry()
	c := quiet(t)
	c.Registry = registry
	next := config.Config{Agent: config.Agent{ID: c.ID}}.WithDefaults()
	c.Load = func() (config.Config, error) { return next, nil }
	a := newAgent(t, c)
	start(t, a)
	next.Raft.NoLeaderTimeout = 2 * time.Minute
	if _, err := a.Reload(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, nil, func() error {
		if n := a.Report()["manifolds"].(map[string]any)["raft"].(map[string]any)["start-count"]; n != 2 {
			return fmt.Errorf("raft was started %v times", n)
		}
		return a.Ready(t.Context())
	})
	wholesome(t, registry)
	stop(t, a)
	empty(t, registry)
}

func TestAStartThatFailsLeavesNothingBehind(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	registry := prometheus.NewRegistry()
	c := quiet(t)
	c.DataDir, c.API.Listen, c.Registry = t.TempDir(), taken.Addr().String(), registry
	c.API.Socket = c.DataDir + "/s"
	a := newAgent(t, c)
	before := goleak.IgnoreCurrent()
	if err := a.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Fatalf("got %v", err)
	}
	waitFor(t, nil, func() error {
		return goleak.Find(before, goleak.IgnoreTopFunction("github.com/hashicorp/raft.(*deferError).Error"),
			// Of a transfer that was interrupted (hashicorp/raft#696).
			goleak.IgnoreTopFunction("github.com/hashicorp/raft.(*Raft).leadershipTransfer"),
			goleak.IgnoreTopFunction("github.com/hashicorp/raft.(*Raft).leaderLoop.func2"))
	})
	empty(t, registry)
	if l, err := net.Listen("unix", c.API.Socket); err != nil {
		t.Errorf("the socket is still there: %v", err)
	} else {
		l.Close()
	}
	taken.Close()
	start(t, a) // on the same directory, ports and registry
	wholesome(t, registry)
}

func TestARegistryTakesOneAgentAtATime(t *testing.T) {
	registry := prometheus.NewRegistry()
	c := quiet(t)
	c.Registry = registry
	start(t, newAgent(t, c))
	other := newAgent(t, c)
	if err := other.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "WrapRegistererWith") {
		t.Fatalf("got %v", err)
	}
	wholesome(t, registry) // those of the first
}

func TestAgentsShareARegistryUnderLabels(t *testing.T) {
	registry := prometheus.NewRegistry()
	var agents []*agent.Agent
	for _, id := range []string{"a1", "a2"} {
		c := quiet(t)
		c.ID, c.Registry = id, prometheus.WrapRegistererWith(prometheus.Labels{"agent": id}, registry)
		a := newAgent(t, c)
		start(t, a)
		agents = append(agents, a)
	}
	wholesome(t, registry)
	if _, ids := gathered(t, registry); !slices.Equal(ids, []string{"a1", "a2"}) {
		t.Errorf("the registry has metrics of %v", ids)
	}
	stop(t, agents[0])
	if _, ids := gathered(t, registry); !slices.Equal(ids, []string{"a2"}) {
		t.Errorf("without a1 the registry has metrics of %v", ids)
	}
	stop(t, agents[1])
	empty(t, registry)
}

func TestCollectorsOfTheProgramAreServedByTheAgent(t *testing.T) {
	registry := prometheus.NewRegistry()
	c := quiet(t)
	c.Registry = registry
	c.Collectors = []prometheus.Collector{prometheus.NewGauge(prometheus.GaugeOpts{Name: "mine"})}
	a := newAgent(t, c)
	start(t, a)
	w := httptest.NewRecorder()
	a.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if text := w.Body.String(); !strings.Contains(text, "mine 0") || !strings.Contains(text, "interrex_revision ") {
		t.Errorf("it serves %s", text)
	}
	if names, _ := gathered(t, registry); slices.Contains(names, "mine") {
		t.Error("it is in the program's registry too")
	}
	stop(t, a)
	start(t, a)
}

// An agent syncs what it keeps, unless it is told not to, or keeps nothing.
func TestAnAgentSyncsItsLog(t *testing.T) {
	for name, c := range map[string]struct {
		keeps, unsynced, syncs bool
	}{"as usual": {true, false, true}, "told not to": {true, true, false}, "in memory": {false, false, false}} {
		t.Run(name, func(t *testing.T) {
			own := quiet(t)
			registry := prometheus.NewRegistry()
			own.Registry = registry
			if c.keeps {
				own.DataDir = t.TempDir()
			}
			own.Raft.NonSyncedWritesToRaftLog = c.unsynced
			a := newAgent(t, own)
			start(t, a)
			if _, err := claim(t, a, "app/db", "ann"); err != nil {
				t.Fatal(err)
			}
			families, err := registry.Gather()
			if err != nil {
				t.Fatal(err)
			}
			var syncs uint64
			for _, f := range families {
				if f.GetName() == "interrex_log_fsync_duration_seconds" {
					syncs = f.GetMetric()[0].GetHistogram().GetSampleCount()
				}
			}
			if (syncs > 0) != c.syncs {
				t.Errorf("%d fsyncs", syncs)
			}
		})
	}
}
