package interrextest

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/juju/loggo"

	"github.com/interrex/interrex/agent"
)

// Patience bounds each wait of this package: for a start, a leader, a stop.
// Exceeding it fails the test.
const Patience = time.Minute

// New returns one agent in memory that is ready, and is stopped at the end of the
// test. It opens no port.
func New(t testing.TB) *agent.Agent {
	t.Helper()
	return Start(t, agent.Config{})
}

// Start is like New, with a configuration. The agent's warnings go to the test's
// log unless the configuration has a Logger.
func Start(t testing.TB, c agent.Config) *agent.Agent {
	t.Helper()
	a := start(t, c)
	ready(t, a)
	return a
}

// start starts an agent that is stopped at the test's end.
func start(t testing.TB, c agent.Config) *agent.Agent {
	t.Helper()
	if c.Logger == nil {
		c.Logger = logger(t, c.ID)
	}
	a, err := agent.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, a) })
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	if err := a.Start(ctx); err != nil {
		t.Fatal(err)
	}
	return a
}

func ready(t testing.TB, a *agent.Agent) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	if err := a.Ready(ctx); err != nil {
		t.Fatalf("agent %s: %v", a.ID(), err)
	}
}

func stop(t testing.TB, a *agent.Agent) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	if err := a.Stop(ctx); err != nil {
		t.Errorf("agent %s: %v", a.ID(), err)
	}
}

// logger writes warnings to the test's log.
func logger(t testing.TB, id string) *loggo.Context {
	to := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	return agent.Slog(to.With("agent", id))
}
