package main

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/agent"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/manifolds"
)

// next waits for the nightly work to begin.
func next(t *testing.T, began <-chan manifolds.Held) manifolds.Held {
	t.Helper()
	select {
	case held := <-began:
		return held
	case <-time.After(30 * time.Second):
		t.Fatal("the nightly work has not begun")
		return nil
	}
}

func TestWorkerOfAnotherProgramsEngineLivesWhileItsLeaseIsHeld(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "socket")
	began := make(chan manifolds.Held, 1)
	engine, err := newEngine(
		manifolds.AgentConfig{ID: "mine", API: agent.APIConfig{Socket: socket}},
		func(held manifolds.Held) { began <- held })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		engine.Kill()
		if err := engine.Wait(); err != nil {
			t.Error(err)
		}
	})
	first := next(t, began)

	operator, err := client.Dial(t.Context(), client.Config{Addresses: []string{"unix://" + socket}})
	if err != nil {
		t.Fatal(err)
	}
	defer operator.Close()
	report, err := operator.Report(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	states := map[string]string{}
	for _, w := range report.GetWorkers() {
		states[w.GetName()] = w.GetState()
	}
	for _, name := range []string{"nightly", "nightly-lease", manifolds.RaftName} {
		if states[name] != "started" {
			t.Errorf("the report shows %s as %q", name, states[name])
		}
	}
	if _, err := operator.Leases().Revoke(t.Context(), interrex.RevokeRequest{Key: first.Key(), Force: true}); err != nil {
		t.Fatal(err)
	}
	second := next(t, began)
	if first.Context().Err() == nil {
		t.Error("the work began again while its first hold went on")
	}
	if second.Token() <= first.Token() {
		t.Errorf("the work runs under token %s after %s", second.Token(), first.Token())
	}
}
