package agent_test

import (
	"context"
	"flag"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/agent"
	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/certificates"
)

// The API and the leases that are held through the agent go on while raft and the
// transport below it are restarted.
func TestTheAPIAndHeldLeasesGoOnOverRestarts(t *testing.T) {
	ca, err := certificates.DevCA()
	if err != nil {
		t.Fatal(err)
	}
	files, err := ca.Write(t.TempDir(), "a1")
	if err != nil {
		t.Fatal(err)
	}
	tls := config.TLSFiles{CA: files.CA, Cert: files.Cert, Key: files.Key}
	a, write := reloadable(t, func(c *agent.Config) { c.Cluster.Listen, c.Cluster.TLS = "127.0.0.1:0", tls })
	write(func(c *config.Config) { c.Cluster.Listen, c.Cluster.TLS = "127.0.0.1:0", tls })
	g := goesOn(t, a)
	apis := starts(a, "api")
	for _, restart := range []struct {
		worker string
		change func(*config.Config)
	}{
		{"raft", func(c *config.Config) { c.Raft.SnapshotRetention = 7 }},
		{"transport", func(c *config.Config) { c.Cluster.Advertise = "127.0.0.1:7401" }},
		{"logging", func(c *config.Config) { c.Logging.Level = "error" }},
		{"api-listener", func(c *config.Config) { c.API.Listen = free(t) }},
	} {
		g.through(t, a, restart.worker, func() { write(restart.change) })
	}
	if is := starts(a, "api"); is != apis {
		t.Errorf("the API was started %v times", is)
	}
	g.end(t)
}

var raftRestarts = flag.Int("raft-restarts", 5, "how often raft is restarted under load")

func TestRaftIsRestartedOftenUnderLoad(t *testing.T) {
	a, write := reloadable(t)
	g := goesOn(t, a)
	for i := range *raftRestarts {
		g.through(t, a, "raft", func() { write(func(c *config.Config) { c.Raft.SnapshotRetention = 3 + i%2 }) })
	}
	g.end(t)
}

// going is a lease that is held and a client that claims, while an agent changes.
type going struct {
	held    interrex.Held
	claimed atomic.Int64
	stop    context.CancelFunc
	work    sync.WaitGroup
}

func goesOn(t *testing.T, a *agent.Agent) *going {
	t.Helper()
	g := &going{}
	var err error
	if g.held, err = a.Leases().Hold(t.Context(), "jobs/held", interrex.HoldOptions{TTL: time.Minute}); err != nil {
		t.Fatal(err)
	}
	c, err := a.Client(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	g.stop = stop
	g.work.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			k := interrex.Key{Namespace: "jobs", Name: fmt.Sprint(i)}
			if _, err := c.Leases().Claim(ctx, interrex.ClaimRequest{Key: k, Holder: "ann", TTL: time.Hour}); err == nil {
				g.claimed.Add(1)
			}
		}
	})
	t.Cleanup(func() { stop(); g.work.Wait() })
	return g
}

// through restarts a worker by a reload, and waits until claims go on.
func (g *going) through(t *testing.T, a *agent.Agent, worker string, change func()) {
	t.Helper()
	before := starts(a, worker)
	change()
	if _, err := a.Reload(); err != nil {
		t.Fatal(err)
	}
	if worker != "logging" { // takes its levels up as it runs
		waitFor(t, nil, func() error {
			if starts(a, worker) == before {
				return fmt.Errorf("%s was not restarted", worker)
			}
			return nil
		})
	}
	claimed := g.claimed.Load()
	waitFor(t, nil, func() error {
		if g.claimed.Load() == claimed {
			return fmt.Errorf("no claim is answered after the restart of %s", worker)
		}
		return nil
	})
	if err := g.held.Check(); err != nil {
		t.Fatalf("the lease is lost with %s: %v", worker, err)
	}
}

// end releases the lease.
func (g *going) end(t *testing.T) {
	t.Helper()
	g.stop()
	g.work.Wait()
	if err := g.held.Release(t.Context()); err != nil {
		t.Error(err)
	}
}
