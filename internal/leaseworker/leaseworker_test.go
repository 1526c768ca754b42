package leaseworker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gate"
	"github.com/interrex/interrex/internal/hold"
	"github.com/interrex/interrex/internal/testworker"
	"github.com/interrex/interrex/internal/unit"
)

// fakeLeases grants one key to whoever holds it, and notes what it is asked.
type fakeLeases struct {
	interrex.Leases
	j      *testworker.Journal
	holds  chan *fakeHeld
	tokens interrex.Token
	asked  interrex.HoldOptions
}

func (f *fakeLeases) Hold(ctx context.Context, key string, o interrex.HoldOptions) (interrex.Held, error) {
	f.asked = o
	k, err := interrex.ParseKey(key)
	if err != nil {
		return nil, err
	}
	f.tokens++
	h := &fakeHeld{key: k, token: f.tokens, j: f.j}
	h.ctx, h.lose = context.WithCancelCause(ctx)
	select {
	case f.holds <- h:
		return h, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type fakeHeld struct {
	key   interrex.Key
	token interrex.Token
	ctx   context.Context
	lose  context.CancelCauseFunc
	j     *testworker.Journal
}

func (h *fakeHeld) Key() interrex.Key { return h.key }

func (h *fakeHeld) Token() interrex.Token { return h.token }

func (h *fakeHeld) Context() context.Context { return h.ctx }

func (h *fakeHeld) Check() error { return context.Cause(h.ctx) }

func (h *fakeHeld) Deadline() time.Time { return time.Time{} }

func (h *fakeHeld) Transfer(context.Context, string) error { return nil }

func (h *fakeHeld) Release(context.Context) error {
	h.lose(errors.New("released"))
	h.j.Add("released " + h.token.String())
	return nil
}

// leaseWorld is an engine with a lease and a worker that needs it.
func leaseWorld(t *testing.T, stopping time.Duration, overstayed func(string, []string)) (*dependency.Engine, *fakeLeases, *testworker.Journal) {
	j := &testworker.Journal{}
	f := &fakeLeases{j: j, holds: make(chan *fakeHeld)}
	engine := testworker.Engine(t, dependency.Manifolds{
		"leases": {
			Start: func(dependency.Context) (worker.Worker, error) {
				return testworker.Slow(&testworker.Journal{}, "leases", 0), nil
			},
			Output: func(_ worker.Worker, out any) error {
				if !unit.Assign(out, f) {
					return fmt.Errorf("cannot give a %T", out)
				}
				return nil
			},
		},
		"lease": Manifold(Config{
			LeasesName: "leases", Key: "mine/nightly", TTL: time.Minute, Holder: "ann",
			Metadata: map[string]string{"host": "h"}, Overstayed: overstayed,
		}),
		"nightly": unit.Gate("worker of lease", dependency.Manifold{Start: func(ctx dependency.Context) (worker.Worker, error) {
			var held interrex.Held
			if err := ctx.Get("lease", &held); err != nil {
				return nil, err
			}
			return testworker.Slow(j, "nightly "+held.Token().String(), stopping), nil
		}}, "lease"),
	})
	return engine, f, j
}

func TestLeaseIsReleasedAfterItsUsersHaveStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, f, j := leaseWorld(t, 3*time.Second, nil)
		<-f.holds
		time.Sleep(time.Second)
		testworker.Stop(t, engine)
		want := []string{"nightly 1 runs", "nightly 1 has stopped", "released 1"}
		if got := j.All(); !slices.Equal(got, want) {
			t.Fatalf("got %q, want %q", got, want)
		}
		if o := f.asked; o.TTL != time.Minute || o.Holder != "ann" || o.Metadata["host"] != "h" || o.Wait >= 0 {
			t.Errorf("the lease was asked for with %+v", o)
		}
	})
}

func TestLostLeaseStopsItsUsersAndTheNextHoldStartsThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, f, j := leaseWorld(t, time.Second, nil)
		h := <-f.holds
		time.Sleep(time.Second)
		h.lose(errors.New("not held"))
		lost := time.Now()
		<-f.holds
		if pause := time.Since(lost); pause > 1500*time.Millisecond { // its user stops for a second, and no failure is waited for
			t.Errorf("the next campaign begins %s after the loss", pause)
		}
		time.Sleep(time.Second)
		testworker.Stop(t, engine)
		want := []string{"nightly 1 runs", "nightly 1 has stopped", "released 1", "nightly 2 runs", "nightly 2 has stopped", "released 2"}
		if got := j.All(); !slices.Equal(got, want) {
			t.Fatalf("got %q, want %q", got, want)
		}
	})
}

func TestLeaseWhoseUserOverstaysIsNotReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var stayed []string
		engine, f, j := leaseWorld(t, time.Minute, func(_ string, names []string) { stayed = names })
		<-f.holds
		time.Sleep(time.Second)
		testworker.Stop(t, engine)
		if got := j.All(); slices.Contains(got, "released 1") || len(stayed) != 1 {
			t.Fatalf("got %q, stayed %q", got, stayed)
		}
	})
}

func TestCampaignEndsWithTheEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine, _, j := leaseWorld(t, 0, nil)
		time.Sleep(time.Second)
		testworker.Stop(t, engine)
		if got := j.All(); len(got) != 0 {
			t.Fatalf("got %q", got)
		}
	})
}

// drained are the leases of an agent that has drained.
type drained struct{ interrex.Leases }

func (drained) Hold(context.Context, string, interrex.HoldOptions) (interrex.Held, error) {
	return nil, interrex.Errorf(interrex.ErrTimeout, "nothing was sent").WithCause(hold.ErrClosed)
}

// The engine logs any other error than these.
func TestACampaignThatADrainEndsWaitsForTheNextClient(t *testing.T) {
	m := Manifold(Config{LeasesName: "leases", Key: "mine/nightly"})
	_, err := m.Start(testworker.Inputs{"leases": {drained{}}})
	if !errors.Is(err, hold.ErrClosed) || m.Filter(err) != dependency.ErrMissing {
		t.Errorf("the engine gets %v for %v", m.Filter(err), err)
	}
}

var _ gate.Flag = (*leaseHolder)(nil)

func TestALostLeaseIsNoFlagBeforeItsWorkerHasSeenIt(t *testing.T) {
	ctx, lose := context.WithCancel(t.Context())
	w := &leaseHolder{held: &fakeHeld{ctx: ctx}}
	if !w.Check() {
		t.Error("the lease is held, and its flag says no")
	}
	lose()
	if w.Check() {
		t.Error("the lease was lost, and its flag says yes")
	}
}

// An owner does not wait for a visitor whose start has not ended.
func TestAStartThatIsUnderWayEndsWithWhatItVisits(t *testing.T) {
	waiting := dependency.Manifold{Start: waits}
	for name, m := range map[string]dependency.Manifold{
		"a gate":       unit.Gate("user", waiting, "owner"),
		"two gates":    unit.Gate("user", unit.Gate("user", waiting, "owner"), "other"),
		"a campaign":   Manifold(Config{LeasesName: "owner", Key: "mine/nightly"}),
		"a late start": unit.Gate("user", dependency.Manifold{Start: startsLate}, "owner"),
	} {
		synctest.Test(t, func(t *testing.T) {
			owner, err := unit.Node{Start: func(*unit.Unit) (worker.Worker, error) {
				return testworker.Slow(&testworker.Journal{}, "owner", 0), nil
			}}.Manifold("owner", strings.Clone, nil).Start(testworker.Inputs(nil))
			if err != nil {
				t.Fatal(err)
			}
			var door gate.Entrance
			if err := unit.Output(owner, &door); err != nil {
				t.Fatal(err)
			}
			leases := &fakeLeases{holds: make(chan *fakeHeld)} // nobody gets one
			started := make(chan worker.Worker)
			go func() {
				w, _ := m.Start(testworker.Inputs{"owner": {leases, door}, "other": {new(gate.Gate)}})
				started <- w
			}()
			synctest.Wait()
			began := time.Now()
			testworker.Stop(t, owner)
			if took := time.Since(began); took > 0 {
				t.Errorf("the owner waited %s for %s", took, name)
			}
			if w := <-started; w != nil {
				_ = w.Wait() // a worker that goes on is a deadlock here
			}
		})
	}
}

// waits is a start that goes on until it is aborted.
func waits(ctx dependency.Context) (worker.Worker, error) {
	<-ctx.Abort()
	return nil, dependency.ErrMissing
}

// startsLate is a start that does not end when it is aborted.
func startsLate(ctx dependency.Context) (worker.Worker, error) {
	<-ctx.Abort()
	return testworker.Slow(&testworker.Journal{}, "user", 0), nil
}
