package agent_test

import (
	"context"
	"database/sql"
	"errors"
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

// What a client does on a stream, and the leases that are held through the agent,
// go on while each section of the configuration is taken up.
func TestStreamsAndHeldLeasesGoOnOverAReloadOfEachSection(t *testing.T) {
	ca, err := certificates.DevCA()
	if err != nil {
		t.Fatal(err)
	}
	files, err := ca.Write(t.TempDir(), "a1")
	if err != nil {
		t.Fatal(err)
	}
	tls := config.TLSFiles{CA: files.CA, Cert: files.Cert, Key: files.Key}
	dir, copies := t.TempDir(), t.TempDir()
	open := func(string) (*sql.DB, error) { return nil, errors.New("there is no driver") }
	a, write := reloadable(t, func(c *agent.Config) {
		c.DataDir, c.API.Socket, c.SQLite = dir, dir+"/s1", open
		c.Cluster.Listen, c.Cluster.TLS = "127.0.0.1:0", tls
	})
	write(func(c *config.Config) {
		c.Agent.DataDir, c.API.Socket, c.Cluster.Listen, c.Cluster.TLS = dir, dir+"/s1", "127.0.0.1:0", tls
	})
	g := goesOn(t, a)
	servers := starts(a, "api")
	for _, restart := range []struct {
		worker string // the one that is restarted
		change func(*config.Config)
	}{
		{"raft", func(c *config.Config) { c.Raft.SnapshotRetention = 7 }},
		{"transport", func(c *config.Config) { c.Cluster.Advertise = "127.0.0.1:7401" }},
		{"transport", func(c *config.Config) { c.Cluster.Listen = free(t) }},
		{"", func(c *config.Config) { c.Logging.Level = "error" }},
		{"", func(c *config.Config) { c.Raft.SnapshotThreshold = 9999 }},
		{"api-listener", func(c *config.Config) { c.API.Listen = free(t) }},
		{"api-socket", func(c *config.Config) { c.API.Socket = dir + "/s2" }},
		{"config-notify", func(c *config.Config) { c.Notify.LeaseHolders = "sqlite" }},
		{"config-notify", func(c *config.Config) { c.Notify.LeaseHolders = "off" }},
		{"config-backup", func(c *config.Config) { c.Backup.To = copies }},
		{"backup", func(c *config.Config) { c.Backup.Keep = 2 }},
		{"config-resources", func(c *config.Config) { c.Features.Resources = config.Off }},
		{"config-changes", func(c *config.Config) { c.Features.Changes = config.Off }},
		{"config-webhooks", func(c *config.Config) { c.Features.Webhooks = config.Off }},
		{"webhook-caller", func(c *config.Config) { c.Features = config.Features{}; *c = c.WithDefaults() }},
	} {
		g.through(t, a, restart.worker, func() { write(restart.change) })
	}
	for _, worker := range []string{"api", "client", "state", "queue"} {
		if is := starts(a, worker); is != servers {
			t.Errorf("%s was started %v times", worker, is)
		}
	}
	g.end(t)
}

// Switched off, leases that are held through the agent are released, and the API is
// not restarted.
func TestHeldLeasesAreReleasedBeforeLeasesAreSwitchedOff(t *testing.T) {
	a, write := reloadable(t)
	reload := func(leases config.Switch) {
		t.Helper()
		write(func(c *config.Config) { c.Features.Leases = leases })
		if _, err := a.Reload(); err != nil {
			t.Fatal(err)
		}
	}
	held, ended := make(chan struct{}, 1), make(chan error, 1)
	go func() {
		ended <- a.Leases().Run(t.Context(), "jobs/held", interrex.HoldOptions{TTL: time.Hour}, func(ctx context.Context, _ interrex.Held) error {
			held <- struct{}{}
			<-ctx.Done()
			return nil
		})
	}()
	<-held
	reload(config.Off)
	select {
	case err := <-ended:
		if !errors.Is(err, interrex.ErrDisabled) {
			t.Errorf("the campaign ended with %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the campaign goes on")
	}
	if err := a.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	reload(config.On)
	waitFor(t, interrex.ErrNotFound, func() error {
		_, _, err := a.Leases().Get(t.Context(), interrex.Key{Namespace: "jobs", Name: "held"}, interrex.ReadOptions{})
		return err
	})
	if n := starts(a, "api"); n != 1 {
		t.Errorf("the API was started %v times", n)
	}
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
	var before any
	if worker != "" {
		before = starts(a, worker)
	}
	change()
	if _, err := a.Reload(); err != nil {
		t.Fatal(err)
	}
	if worker != "" { // a running one takes it up
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
