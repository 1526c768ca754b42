package agent_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/juju/worker/v3"
	"go.uber.org/goleak"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/agent"
	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/interrextest"
)

// raft never answers what it applies while it shuts down (hashicorp/raft#145);
// whoever waits for that waits on.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/hashicorp/raft.(*deferError).Error"),
		// Of a transfer that was interrupted (hashicorp/raft#696).
		goleak.IgnoreTopFunction("github.com/hashicorp/raft.(*Raft).leadershipTransfer"),
		goleak.IgnoreTopFunction("github.com/hashicorp/raft.(*Raft).leaderLoop.func2"))
}

var _ worker.Worker = (*agent.Agent)(nil)

func quiet(t *testing.T) agent.Config {
	return agent.Config{ID: "a1", Logger: agent.Slog(slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError})))}
}

func newAgent(t *testing.T, c agent.Config) *agent.Agent {
	t.Helper()
	a, err := agent.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, a) })
	return a
}

func start(t *testing.T, a *agent.Agent) {
	t.Helper()
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := a.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func stop(t *testing.T, a *agent.Agent) {
	t.Helper()
	if err := a.Stop(context.Background()); err != nil {
		t.Error(err)
	}
}

func claim(t *testing.T, a *agent.Agent, key, holder string) (interrex.LeaseAnswer, error) {
	t.Helper()
	k, err := interrex.ParseKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return a.Leases().Claim(t.Context(), interrex.ClaimRequest{Key: k, Holder: holder, TTL: time.Hour})
}

func TestAgentMayBeStartedAgain(t *testing.T) {
	c := quiet(t)
	c.DataDir = t.TempDir()
	c.API.Socket = filepath.Join(c.DataDir, "s")
	a := newAgent(t, c)
	stop(t, a) // before the first start
	start(t, a)
	if err := a.Start(t.Context()); err != nil {
		t.Fatalf("a second start: %v", err)
	}
	first, err := claim(t, a, "db", "ann")
	if err != nil {
		t.Fatal(err)
	}
	stop(t, a)
	stop(t, a)
	if err := a.Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := claim(t, a, "db", "bob"); !errors.Is(err, interrex.ErrUnavailable) {
		t.Fatalf("a claim on a stopped agent: %v", err)
	}
	start(t, a)
	if _, err := claim(t, a, "db", "bob"); !errors.Is(err, interrex.ErrHeld) {
		t.Fatalf("the lease did not survive: %v", err)
	}
	second, err := claim(t, a, "other", "bob")
	if err != nil || second.Lease.Token <= first.Lease.Token {
		t.Fatalf("got token %d after %d, %v", second.Lease.Token, first.Lease.Token, err)
	}
}

func TestStartAndStopFromSeveralGoroutines(t *testing.T) {
	a := newAgent(t, quiet(t))
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if err := a.Start(t.Context()); err != nil {
				t.Error(err)
			}
			if err := a.Stop(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

func TestKilledAgentEndsWithoutDraining(t *testing.T) {
	c := quiet(t)
	c.DataDir = t.TempDir()
	a := newAgent(t, c)
	start(t, a)
	held, err := a.Leases().Hold(t.Context(), "app/db", interrex.HoldOptions{TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	a.Kill()
	if err := a.Wait(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(killed); took >= 10*time.Second { // as long as a drain waits for a lease that nobody releases
		t.Errorf("it took %v", took)
	}
	start(t, a)
	got, _, err := a.Leases().Get(t.Context(), interrex.Key{Namespace: "app", Name: "db"}, interrex.ReadOptions{})
	if err != nil || got.Token != held.Token() {
		t.Errorf("there is %+v (%v): a kill releases nothing", got, err)
	}
}

func TestStartSaysWhyAnAddressCannotBeBound(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	c := quiet(t)
	c.API.Listen = taken.Addr().String()
	a := newAgent(t, c)
	if err := a.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Fatalf("got %v", err)
	}
}

func TestTwoAgentsDoNotShareADirectory(t *testing.T) {
	c := quiet(t)
	c.DataDir = t.TempDir()
	c.API.Socket = filepath.Join(c.DataDir, "s")
	start(t, newAgent(t, c))
	other := newAgent(t, c)
	if err := other.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "agent a1, process") {
		t.Fatalf("got %v", err)
	}
}

func TestDirectoryBelongsToOneAgent(t *testing.T) {
	c := quiet(t)
	c.DataDir = t.TempDir()
	c.API.Socket = filepath.Join(c.DataDir, "s")
	a := newAgent(t, c)
	start(t, a)
	stop(t, a)
	c.ID = "a2"
	if err := newAgent(t, c).Start(t.Context()); err == nil || !strings.Contains(err.Error(), "belongs to agent a1") {
		t.Fatalf("got %v", err)
	}
}

func TestNewRefusesAWrongConfiguration(t *testing.T) {
	for want, change := range map[string]func(*agent.Config){
		"is not a DNS label":   func(c *agent.Config) { c.ID = "A_1" },
		"beyond loopback":      func(c *agent.Config) { c.API.Listen = "0.0.0.0:0" },
		"cluster.tls":          func(c *agent.Config) { c.Cluster.Join = []string{"a:1"} },
		"no SQLite driver":     func(c *agent.Config) { c.Notify.LeaseHolders = "sqlite" },
		"raft.leader-lease-ti": func(c *agent.Config) { c.Raft.LeaderLeaseTimeout = time.Millisecond },
	} {
		c := quiet(t)
		change(&c)
		if _, err := agent.New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestLeadershipReplaysThePresent(t *testing.T) {
	a := newAgent(t, quiet(t))
	if _, err := a.Client(t.Context()); !errors.Is(err, agent.ErrStopped) || !errors.Is(err, interrex.ErrUnavailable) {
		t.Errorf("the client of a stopped agent: %v", err)
	}
	if _, err := a.Leadership(); !errors.Is(err, agent.ErrStopped) {
		t.Fatalf("got %v", err)
	}
	start(t, a)
	w, err := a.Leadership()
	if err != nil {
		t.Fatal(err)
	}
	for {
		l, err := w.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if l.Ready {
			if !l.Leader || l.LeaderID != "a1" || l.Term == 0 {
				t.Fatalf("got %+v", l)
			}
			return
		}
	}
}

// What the work under a lease takes to stop holds up no election: leadership has
// gone before.
func TestStopHandsLeadershipOverBeforeItWaitsForWork(t *testing.T) {
	c := interrextest.StartCluster(t, interrextest.ClusterConfig{Size: 3})
	first := c.Leader()
	a := c.Agent(first)
	begun, released := make(chan struct{}), make(chan struct{})
	over := make(chan error, 1)
	go func() {
		over <- a.Leases().Run(t.Context(), "mine/leader", interrex.HoldOptions{TTL: time.Hour}, func(ctx context.Context, _ interrex.Held) error {
			close(begun)
			<-ctx.Done()
			<-released
			return nil
		})
	}()
	<-begun
	stopped := make(chan error, 1)
	go func() { stopped <- a.Stop(t.Context()) }()
	next := c.Agent((first + 1) % 3)
	for is := next.Status(); is.LeaderID == "" || is.LeaderID == a.ID(); is = next.Status() {
		time.Sleep(5 * time.Millisecond) // a poll, which the drain's own time ends
	}
	close(released)
	if err := <-stopped; err != nil {
		t.Errorf("leadership stayed until the drain had given up: %v", err)
	}
	<-over
}

func TestStopReleasesWhatRunsUnderALease(t *testing.T) {
	c := quiet(t)
	c.DataDir = t.TempDir()
	c.API.Socket = filepath.Join(c.DataDir, "s")
	a := newAgent(t, c)
	start(t, a)
	held, done := make(chan struct{}), make(chan error, 1)
	go func() {
		done <- a.Leases().Run(t.Context(), "mine/leader", interrex.HoldOptions{TTL: time.Hour}, func(ctx context.Context, _ interrex.Held) error {
			close(held)
			<-ctx.Done()
			return nil
		})
	}()
	<-held
	stop(t, a)
	<-done
	start(t, a)
	if _, err := claim(t, a, "mine/leader", "bob"); err != nil {
		t.Fatalf("the lease was not released: %v", err)
	}
}

func TestHandlerServesTheAPI(t *testing.T) {
	a := newAgent(t, quiet(t))
	get := func() int {
		w := httptest.NewRecorder()
		w.Code = 0 // until something is answered
		a.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
		return w.Code
	}
	if code := get(); code != http.StatusServiceUnavailable {
		t.Fatalf("a stopped agent answers %d", code)
	}
	start(t, a)
	if code := get(); code != http.StatusOK {
		t.Fatalf("a ready agent answers %d", code)
	}
}

func TestReloadTogglesLeases(t *testing.T) {
	c := quiet(t)
	var mu sync.Mutex
	next := config.Config{Agent: config.Agent{ID: "a1"}}.WithDefaults()
	c.Load = func() (config.Config, error) {
		mu.Lock()
		defer mu.Unlock()
		return next, nil
	}
	a := newAgent(t, c)
	start(t, a)
	if _, err := claim(t, a, "db", "ann"); err != nil {
		t.Fatal(err)
	}
	reload := func(s config.Switch) {
		t.Helper()
		mu.Lock()
		next.Features.Leases = s
		mu.Unlock()
		if changed, err := a.Reload(); err != nil || len(changed) != 1 || changed[0] != "features" {
			t.Fatalf("got %q, %v", changed, err)
		}
	}
	reload(config.Off)
	waitFor(t, interrex.ErrDisabled, func() error { _, err := claim(t, a, "db", "bob"); return err })
	worker := a.Report()["manifolds"].(map[string]any)["leases"].(map[string]any)
	if worker["state"] == "started" {
		t.Fatalf("the leases' worker is %v", worker)
	}
	reload(config.On)
	waitFor(t, interrex.ErrHeld, func() error { _, err := claim(t, a, "db", "bob"); return err })
}

func TestReloadOfSnapshotSettingsDoesNotRestartRaft(t *testing.T) {
	c := quiet(t)
	c.DataDir, c.Raft.SnapshotInterval = t.TempDir(), time.Second
	next := config.Config{Agent: config.Agent{ID: "a1", DataDir: c.DataDir}}.WithDefaults()
	next.Raft.SnapshotInterval, next.Raft.SnapshotThreshold = time.Second, 1
	c.Load = func() (config.Config, error) { return next, nil }
	a := newAgent(t, c)
	start(t, a)
	starts := func() any { return a.Report()["manifolds"].(map[string]any)["raft"].(map[string]any)["start-count"] }
	if changed, err := a.Reload(); err != nil || len(changed) != 1 || changed[0] != "raft" {
		t.Fatalf("got %q, %v", changed, err)
	}
	if _, err := claim(t, a, "db", "ann"); err != nil || starts() != 1 {
		t.Fatalf("raft was started %v times, %v", starts(), err)
	}
	made := errors.New("there is a snapshot")
	waitFor(t, made, func() error { // by the raft that runs
		if len(snapshots(t, c.DataDir)) > 0 {
			return made
		}
		return nil
	})
	next.Raft.NoLeaderTimeout = 2 * time.Minute
	if _, err := a.Reload(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, interrex.ErrHeld, func() error {
		if starts() != 2 {
			return errors.New("raft was not restarted")
		}
		_, err := claim(t, a, "db", "bob")
		return err
	})
}

// waitFor asks until the answer is the wanted one: a reload is taken up soon
// after it was answered.
func waitFor(t *testing.T, want error, ask func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for {
		err := ask()
		if errors.Is(err, want) {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("got %v, want %v", err, want)
		case <-time.After(10 * time.Millisecond):
		}
	}
}
