package main

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/juju/worker/v3/dependency"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/agent"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/manifolds"
)

// next waits until the nightly work begins.
func next(t *testing.T, began <-chan interrex.Held) interrex.Held {
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
	began := make(chan interrex.Held, 1)
	engine, _, err := newEngine(
		agent.Config{ID: "mine", API: config.API{Socket: socket}},
		func(held interrex.Held) { began <- held })
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
	// The work reports that it began before the engine knows that it has started.
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		missing := notStarted(t, operator, "nightly", "nightly-lease", manifolds.RaftName)
		if len(missing) == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the report does not show as started: %q", missing)
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

func TestTheLeaseIsReleasedWhenTheProgramIsKilled(t *testing.T) {
	isReleased(t, func(engine *dependency.Engine, _ func(context.Context) error) { engine.Kill() })
}

// As by "interrex agent drain".
func TestTheLeaseIsReleasedWhenTheProgramIsDrained(t *testing.T) {
	isReleased(t, func(_ *dependency.Engine, drain func(context.Context) error) {
		if err := drain(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// isReleased checks that the lease is released when end has been called.
func isReleased(t *testing.T, end func(*dependency.Engine, func(context.Context) error)) {
	t.Helper()
	began := make(chan interrex.Held, 1)
	c := agent.Config{ID: "mine", DataDir: t.TempDir()}
	done := make(chan struct{}) // the work takes a while to stop
	engine, drain, err := newEngine(c, func(held interrex.Held) { began <- held; <-done })
	if err != nil {
		t.Fatal(err)
	}
	held := next(t, began)
	time.AfterFunc(2*time.Second, func() { close(done) })
	end(engine, drain)
	if err := engine.Wait(); err != nil {
		t.Fatal(err)
	}
	a, err := agent.New(agent.Config{ID: "mine", DataDir: c.DataDir})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = a.Stop(context.Background()) }()
	if l, _, err := a.Leases().Get(t.Context(), held.Key(), interrex.ReadOptions{}); !errors.Is(err, interrex.ErrNotFound) {
		t.Errorf("there is %+v (%v)", l, err)
	}
}

// notStarted returns the workers that the report does not show as started.
func notStarted(t *testing.T, operator *client.Client, names ...string) []string {
	t.Helper()
	report, err := operator.Report(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range report.GetWorkers() {
		if w.GetState() == "started" {
			names = slices.DeleteFunc(names, func(name string) bool { return name == w.GetName() })
		}
	}
	return names
}
