package operations

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/method"
)

// One caller makes a hundred lists at once, and then another makes two.
func TestLongReadsTakeTurnsByCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns(1)
		if err := turns.take(t.Context(), "first"); err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var order []string
		var all sync.WaitGroup
		read := func(share string) {
			all.Go(func() {
				if err := turns.take(t.Context(), share); err != nil {
					t.Error(err)
				}
				mu.Lock()
				order = append(order, share)
				mu.Unlock()
				turns.give()
			})
			synctest.Wait()
		}
		for range 100 {
			read("many")
		}
		read("few")
		read("few")
		turns.give()
		all.Wait()
		if len(order) != 102 || !slices.Equal(order[:5], []string{"many", "few", "many", "few", "many"}) {
			t.Errorf("%d reads, first those of %v", len(order), order[:5])
		}
	})
}

// Making bytes of a long list takes as long as reading it.
func TestWhatIsSentAsBytesIsMadeInItsTurn(t *testing.T) {
	s := newServer(t)
	for _, bytes := range []bool{true, false} {
		r := &request{bytes: bytes, Call: method.Call{Method: s.methods.Method(interrexv1.LeaseServiceListProcedure), Message: &interrexv1.ListRequest{}}}
		if o := s.look(t.Context(), r, nil); o.err != nil || (o.body != nil) != bytes || (o.message == nil) != bytes {
			t.Errorf("%+v", o)
		}
	}
	list := asks(t, 1, interrexv1.LeaseServiceListProcedure, &interrexv1.ListRequest{})
	if r, err := newStream(t, s).begin(list, nil); err != nil || !r.bytes {
		t.Errorf("of a stream: %+v, %v", r, err)
	}
}

func TestALongReadDoesNotWaitForItsTurnWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns(0)
		if err := turns.take(t.Context(), "x"); interrex.KindOf(err) != interrex.ErrOverloaded || interrex.RetryAfter(err) == 0 {
			t.Errorf("it ends with %v", err)
		}
	})
}

func TestALongReadWhoseCallerHasGoneTakesNoTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns(1)
		if err := turns.take(t.Context(), "first"); err != nil {
			t.Fatal(err)
		}
		gone, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		var began atomic.Int64
		for _, ctx := range []context.Context{gone, t.Context(), gone} {
			all.Go(func() {
				if err := turns.take(ctx, "x"); !errors.Is(err, ctx.Err()) {
					t.Errorf("%v", err)
				} else if err == nil {
					began.Add(1)
					turns.give()
				}
			})
			synctest.Wait()
		}
		cancel()
		synctest.Wait()
		if n := began.Load(); n != 0 {
			t.Errorf("%d have begun beside the first", n)
		}
		turns.give()
		all.Wait()
		if turns.free != 1 || len(turns.waiting) != 0 || turns.shares.Len() != 0 {
			t.Errorf("%d are free, and %d callers wait", turns.free, len(turns.waiting))
		}
	})
}

// comes is the context of a caller that has gone, which gets its turn when it is noticed.
type comes struct {
	context.Context
	turns *turns
	once  sync.Once
}

func (c *comes) Err() error {
	c.once.Do(c.turns.give)
	return c.Context.Err()
}

// A turn that comes to a caller that has gone is passed on.
func TestATurnThatComesTooLateIsGivenBack(t *testing.T) {
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for range 50 { // which of the two is noticed is chance
		turns := newTurns(1)
		if err := turns.take(t.Context(), "first"); err != nil {
			t.Fatal(err)
		}
		if err := turns.take(&comes{Context: gone, turns: turns}, "x"); err == nil {
			turns.give()
		}
		if turns.free != 1 {
			t.Fatalf("%d are free", turns.free)
		}
	}
}
