package main

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/juju/loggo"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/agent"
	"github.com/interrex/interrex/config"
)

// output is what a command says, read while it runs.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{}
}

func (w *output) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case w.more <- struct{}{}:
	default:
	}
	return w.text.Write(p)
}

func (w *output) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

func TestADrainSaysWhatItWaitsFor(t *testing.T) {
	dir := t.TempDir()
	one, err := agent.New(agent.Config{
		ID: "one", DataDir: dir, API: config.API{Socket: filepath.Join(dir, "s")}, Logger: loggo.NewContext(loggo.CRITICAL),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := one.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := one.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if err := one.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	held, leave, left := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		left <- one.Leases().Run(t.Context(), "db", interrex.HoldOptions{TTL: time.Hour}, func(context.Context, interrex.Held) error {
			close(held)
			<-leave // it does not heed its context
			return nil
		})
	}()
	<-held
	said := &output{more: make(chan struct{}, 1)}
	ended := make(chan error, 1)
	drain := program("agent", "drain", "--timeout", "1m", "--addr", "unix://"+filepath.Join(dir, "s"))
	drain.Stdout, drain.Stderr = said, said
	go func() { ended <- drain.Run() }()
	select {
	case <-said.more:
	case <-time.After(patience):
		t.Fatal("it says nothing")
	}
	close(leave)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	<-left
	if want := "waiting for the leases that are held through this agent to be released\ndrained; the process is about to end\n"; said.String() != want {
		t.Errorf("it said %q, want %q", strings.TrimSpace(said.String()), want)
	}
}
