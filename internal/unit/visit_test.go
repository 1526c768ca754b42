package unit_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"

	"github.com/interrex/interrex/gate"
	"github.com/interrex/interrex/internal/lives"
	"github.com/interrex/interrex/internal/testworker"
	"github.com/interrex/interrex/internal/unit"
)

// owns is a node whose worker frees something, which is noted.
func owns(j *testworker.Journal, name string, visits ...string) unit.Node {
	return unit.Node{Visits: visits, Start: func(u *unit.Unit) (worker.Worker, error) {
		u.After(func() { j.Add(name + " is free") })
		return testworker.Slow(j, name, 0), nil
	}}
}

// engineOf is an engine of nodes.
func engineOf(t *testing.T, nodes map[string]unit.Node, others dependency.Manifolds) *dependency.Engine {
	t.Helper()
	set := dependency.Manifolds{}
	for name, n := range nodes {
		set[name] = n.Manifold(name, strings.Clone, nil)
		m := set[name]
		m.Start = lives.New().Recorded(name, m)
		set[name] = m
	}
	for name, m := range others {
		set[name] = m
	}
	return testworker.Engine(t, set)
}

func TestOwnerIsStoppedAfterItsVisitors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &testworker.Journal{}
		engine := testworker.Engine(t, dependency.Manifolds{
			"owner": ownerManifold(func() worker.Worker { return testworker.Slow(j, "owner", 0) }, nil),
			"user": unit.Gate("user", dependency.Manifold{
				Inputs: []string{"owner"},
				Start: func(dependency.Context) (worker.Worker, error) {
					return testworker.Slow(j, "user", 5*time.Second), nil
				},
			}, "owner"),
		})
		time.Sleep(time.Second)
		testworker.Stop(t, engine)
		want := []string{"owner runs", "user runs", "user has stopped", "owner has stopped"}
		if got := j.All(); !slices.Equal(got, want) {
			t.Fatalf("got %q, want %q", got, want)
		}
	})
}

func TestOwnerNamesWhoOverstays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &testworker.Journal{}
		var stayed []string
		engine := testworker.Engine(t, dependency.Manifolds{
			"owner": ownerManifold(func() worker.Worker { return testworker.Slow(j, "owner", 0) }, func(names []string) { stayed = names }),
			"user": unit.Gate("user", dependency.Manifold{
				Inputs: []string{"owner"},
				Start: func(dependency.Context) (worker.Worker, error) {
					return testworker.Slow(j, "user", 20*time.Second), nil
				},
			}, "owner"),
		})
		time.Sleep(time.Second)
		testworker.Stop(t, engine)
		want := []string{"owner runs", "user runs", "owner has stopped", "user has stopped"}
		if got := j.All(); !slices.Equal(got, want) || !slices.Equal(stayed, []string{"user"}) {
			t.Fatalf("got %q, stayed %q", got, stayed)
		}
	})
}

func ownerManifold(w func() worker.Worker, overstay func([]string)) dependency.Manifold {
	return unit.Node{Start: func(*unit.Unit) (worker.Worker, error) { return w(), nil }}.Manifold("owner", strings.Clone, overstay)
}

func TestAStartThatFailsLeavesNothingBehind(t *testing.T) {
	for how, fail := range map[string]func() error{
		"fails":  func() error { return dependency.ErrMissing },
		"panics": func() error { panic("boom") },
	} {
		synctest.Test(t, func(t *testing.T) {
			j := &testworker.Journal{}
			engine := engineOf(t, map[string]unit.Node{
				"owner": owns(j, "owner"),
				"user": {Visits: []string{"owner"}, Start: func(u *unit.Unit) (worker.Worker, error) {
					u.After(func() { j.Add("user is free") })
					u.Follow(make(chan struct{}), nil)
					return nil, fail()
				}},
			}, nil)
			time.Sleep(time.Millisecond * 500)
			began := time.Now()
			testworker.Stop(t, engine)
			if took := time.Since(began); took > 0 {
				t.Errorf("a start that %s is waited for: %s", how, took)
			}
			if got, want := j.All(), []string{"owner runs", "user is free", "owner has stopped", "owner is free"}; !slices.Equal(got, want) {
				t.Errorf("a start that %s: got %q, want %q", how, got, want)
			}
		})
	}
}

func TestWhatCannotBeFreedIsTheErrorOfTheWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &testworker.Journal{}
		n := unit.Node{Start: func(u *unit.Unit) (worker.Worker, error) {
			u.After(func() { j.Add("first") })
			u.Free(func() error { j.Add("second"); return errors.New("the disk is gone") })
			return testworker.Slow(j, "it", 0), nil
		}}
		w, err := n.Manifold("it", strings.Clone, nil).Start(testworker.Inputs(nil))
		if err != nil {
			t.Fatal(err)
		}
		if err := worker.Stop(w); err == nil || err.Error() != "the disk is gone" {
			t.Errorf("got %v", err)
		}
		if got, want := j.All(), []string{"it runs", "it has stopped", "second", "first"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func TestAClosedOwnerIsMissing(t *testing.T) {
	door := gate.New()
	door.Close(t.Context())
	_, err := unit.Node{Visits: []string{"owner"}, Start: func(*unit.Unit) (worker.Worker, error) {
		t.Error("it starts")
		return nil, nil
	}}.Manifold("user", strings.Clone, nil).Start(testworker.Inputs{"owner": {door}})
	if !errors.Is(err, dependency.ErrMissing) || !strings.Contains(err.Error(), "cannot visit owner") {
		t.Errorf("got %v", err)
	}
}

func TestWhatEndsByItselfIsFreedAfterItsVisitors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &testworker.Journal{}
		owner := testworker.Slow(j, "owner", 0)
		engine := engineOf(t, map[string]unit.Node{
			"owner": {Start: func(u *unit.Unit) (worker.Worker, error) {
				u.After(func() { j.Add("owner is free") })
				return owner, nil
			}, Filter: func(error) error { return dependency.ErrUninstall }},
			"user": {Visits: []string{"owner"}, Start: func(*unit.Unit) (worker.Worker, error) { return testworker.Slow(j, "user", time.Second), nil }},
		}, nil)
		time.Sleep(500 * time.Millisecond)
		owner.Kill()
		time.Sleep(2 * time.Second)
		testworker.Stop(t, engine)
		if got, want := j.All(), []string{"owner runs", "user runs", "owner has stopped", "user has stopped", "owner is free"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// What a worker frees is freed whatever panics before it.
func TestAPanicAtTheEndIsTheErrorOfTheWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &testworker.Journal{}
		w, err := unit.Node{Start: func(u *unit.Unit) (worker.Worker, error) {
			u.After(func() { j.Add("free") })
			u.After(func() { panic("boom") })
			return nil, nil
		}}.Manifold("it", strings.Clone, nil).Start(testworker.Inputs(nil))
		if err != nil {
			t.Fatal(err)
		}
		if err := worker.Stop(w); err == nil || !strings.Contains(err.Error(), "panic: boom") {
			t.Errorf("got %v", err)
		}
		if got := j.All(); !slices.Equal(got, []string{"free"}) {
			t.Errorf("got %q", got)
		}
	})
}

func TestAPanicUponAChangeEndsTheWorkerWithItsError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, changed := &testworker.Journal{}, make(chan struct{})
		w, err := unit.Node{Start: func(u *unit.Unit) (worker.Worker, error) {
			u.Follow(changed, func() <-chan struct{} { panic("boom") })
			return testworker.Slow(j, "it", 0), nil
		}}.Manifold("it", strings.Clone, nil).Start(testworker.Inputs(nil))
		if err != nil {
			t.Fatal(err)
		}
		close(changed)
		if err := w.Wait(); err == nil || !strings.Contains(err.Error(), "panic: boom") {
			t.Errorf("got %v", err)
		}
		if got := j.All(); !slices.Equal(got, []string{"it runs", "it has stopped"}) {
			t.Errorf("got %q", got)
		}
	})
}
