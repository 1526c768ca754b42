package gate_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/interrex/interrex/gate"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func enter(t *testing.T, g *gate.Gate, name string) *gate.Visit {
	t.Helper()
	v, err := g.Enter(name)
	if err != nil {
		t.Fatalf("Enter(%q): %v", name, err)
	}
	return v
}

func TestZeroGateIsOpen(t *testing.T) {
	var g gate.Gate
	enter(t, &g, "a")
	if got := g.Visitors(); !slices.Equal(got, []string{"a"}) {
		t.Errorf("Visitors() = %q, want a", got)
	}
}

func TestVisitorsAreSorted(t *testing.T) {
	g := gate.New()
	for _, name := range []string{"c", "a", "b", "a"} {
		enter(t, g, name)
	}
	if got := g.Visitors(); !slices.Equal(got, []string{"a", "a", "b", "c"}) {
		t.Errorf("Visitors() = %q", got)
	}
}

func TestCloseOfAnEmptyGateReturnsAtOnceEvenWithoutTime(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	g := gate.New()
	enter(t, g, "a").Leave()
	for range 50 { // a select between two ready channels is a coin toss
		if got := g.Close(ctx); got != nil {
			t.Fatalf("Close named %q at an empty gate", got)
		}
	}
}

func TestClosedGateRefusesVisits(t *testing.T) {
	g := gate.New()
	g.Close(t.Context())
	if v, err := g.Enter("late"); !errors.Is(err, gate.ErrClosed) || v != nil {
		t.Errorf("Enter = %v, %v, want ErrClosed", v, err)
	}
}

func TestCloseAsksVisitorsToLeaveAndWaitsForTheLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := gate.New()
		for i := range 3 {
			v := enter(t, g, "visitor")
			go func() {
				<-v.Stopping()
				time.Sleep(time.Duration(i) * time.Second)
				v.Leave()
			}()
		}
		synctest.Wait()
		began := time.Now()
		if got := g.Close(t.Context()); got != nil {
			t.Errorf("Close named %q", got)
		}
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("Close returned after %v, want the 2s of the slowest visitor", took)
		}
	})
}

func TestCloseNamesWhoOverstays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := gate.New()
		deaf, quick := enter(t, g, "deaf"), enter(t, g, "quick")
		go func() { <-quick.Stopping(); quick.Leave() }()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if got := g.Close(ctx); !slices.Equal(got, []string{"deaf"}) {
			t.Errorf("Close named %q, want deaf", got)
		}
		deaf.Leave()
		if got := g.Close(ctx); got != nil {
			t.Errorf("Close named %q when all had left", got)
		}
	})
}

func TestLeavingTwiceCountsOnce(t *testing.T) {
	g := gate.New()
	a, b := enter(t, g, "a"), enter(t, g, "b")
	a.Leave()
	a.Leave()
	if got := g.Visitors(); !slices.Equal(got, []string{"b"}) {
		t.Errorf("Visitors() = %q, want b", got)
	}
	b.Leave()
	g.Close(t.Context())
	b.Leave()
}

func TestManyMayCloseAndLeaveAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := gate.New()
		for range 100 {
			v := enter(t, g, "v")
			go func() { <-v.Stopping(); v.Leave() }()
		}
		for range 10 {
			go func() {
				if got := g.Close(t.Context()); got != nil {
					t.Errorf("Close named %q", got)
				}
			}()
		}
		synctest.Wait()
	})
}
