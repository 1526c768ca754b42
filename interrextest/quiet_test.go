package interrextest_test

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/agent"
	"github.com/interrex/interrex/interrextest"
)

// lines collects what any number of agents log at WARN and above.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write implements io.Writer.
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) logger(id string) *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelWarn})).With("agent", id)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// work holds leases through each agent, and watches.
func work(t *testing.T, agents ...*agent.Agent) {
	t.Helper()
	for _, a := range agents {
		w, err := a.Leases().Watch(t.Context(), interrex.WatchRequest{Namespace: "mine"})
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Leases().Run(t.Context(), "mine/"+a.ID(), interrex.HoldOptions{TTL: time.Minute}, func(context.Context, interrex.Held) error {
			return interrex.ErrStopCampaign
		}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// until runs work under a lease of an agent until the agent stops.
func until(t *testing.T, a *agent.Agent) (ended <-chan error) {
	t.Helper()
	held, done := make(chan struct{}), make(chan error, 1)
	go func() {
		done <- a.Leases().Run(context.Background(), "mine/last-"+a.ID(), interrex.HoldOptions{}, func(ctx context.Context, _ interrex.Held) error {
			close(held)
			<-ctx.Done()
			return ctx.Err()
		})
	}()
	select {
	case <-held:
	case <-time.After(interrextest.Patience):
		t.Fatal("nothing is held")
	}
	return done
}

func TestAnAgentThatWorksAndStopsIsQuiet(t *testing.T) {
	for name, dir := range map[string]string{"in memory": "", "on a disk": t.TempDir()} {
		t.Run(name, func(t *testing.T) {
			log := new(lines)
			c := agent.Config{ID: "n1", DataDir: dir, Logger: agent.Slog(log.logger("n1"))}
			c.API.Listen = "127.0.0.1:0"
			a := interrextest.Start(t, c)
			work(t, a)
			ended := until(t, a)
			if err := a.Stop(context.Background()); err != nil {
				t.Error(err)
			}
			<-ended
			if said := log.String(); said != "" {
				t.Errorf("it logs:\n%s", said)
			}
		})
	}
}

func TestWritesThatAreNotSyncedAreAWarning(t *testing.T) {
	log := new(lines)
	c := agent.Config{ID: "n1", DataDir: t.TempDir(), Logger: agent.Slog(log.logger("n1"))}
	c.Raft.NonSyncedWritesToRaftLog = true
	interrextest.Start(t, c)
	if said := log.String(); !strings.Contains(said, "raft.non-synced-writes-to-raft-log is on") {
		t.Errorf("it logs:\n%s", said)
	}
}

func TestAClusterThatWorksAndStopsIsQuiet(t *testing.T) {
	log := new(lines)
	c := interrextest.StartCluster(t, interrextest.ClusterConfig{Configure: func(_ int, c *agent.Config) {
		c.Logger = agent.Slog(log.logger(c.ID))
	}})
	c.Leader()
	work(t, c.Agents()...)
	ended := until(t, c.Agent(0))
	c.Stop(0)
	<-ended
	var rest sync.WaitGroup
	for _, a := range c.Agents()[1:] { // at once, as a process with all of them does
		rest.Go(func() {
			if err := a.Stop(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	rest.Wait()
	if said := log.String(); said != "" {
		t.Errorf("they log:\n%s", said)
	}
}
