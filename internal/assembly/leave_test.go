package assembly

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/testworker"
)

// An agent that may not leave goes on, with all that is held through it.
func TestALeaveThatIsRefusedChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.settle(t)
		before := w.Client()
		held, err := before.Leases().Hold(t.Context(), "mine/a", interrex.HoldOptions{TTL: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Leave(t.Context(), true); interrex.KindOf(err) != interrex.ErrConflict {
			t.Errorf("the last voter leaves: %v", err)
		}
		if held.Context().Err() != nil || w.Client() != before || w.leaving() != nil || !w.Leadership.Current().Leader {
			t.Errorf("what is held ends with %v, the agent is %v, and leads: %v", context.Cause(held.Context()), w.leaving(), w.Leadership.Current())
		}
		testworker.Stop(t, w.engine)
	})
}

func TestAnAgentThatStaysTakesPartAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.settle(t)
		before, what := w.Client(), "a reason"
		w.release(t.Context(), running[*localClient](w.Set, ClientName))
		w.draining.Store(&what)
		if w.leaving() == nil {
			t.Error("it may be elected while it leaves")
		}
		w.stay()
		time.Sleep(time.Minute)
		w.settle(t)
		if w.leaving() != nil || w.Client() == before {
			t.Errorf("it is %v, and its client is the one of before: %v", w.leaving(), w.Client() == before)
		}
		claim(t, w, "mine/a")
		testworker.Stop(t, w.engine)
	})
}
