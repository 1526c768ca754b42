package assembly

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/testworker"
)

// What is held through an agent is free for others once it is drained, before it expires.
func TestADrainReleasesWhatIsHeldAndRefusesNewCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.settle(t)
		holds, ended := make(chan interrex.Key), make(chan error)
		go func() {
			ended <- w.Client().Leases().Run(t.Context(), "jobs/x", interrex.HoldOptions{}, func(ctx context.Context, held interrex.Held) error {
				holds <- held.Key()
				<-ctx.Done()
				return nil
			})
		}()
		key := <-holds
		leases := running[*lease.Table](w.Set, StateName)
		if err := w.Drain(context.Background()); err != nil {
			t.Fatal(err)
		}
		if _, is := leases.Get(key); is {
			t.Error("the lease is still held after the drain")
		}
		if !w.server().Draining() {
			t.Error("the API takes new calls")
		}
		<-ended
		if w.leaving() == nil || !w.Status().Draining {
			t.Errorf("it does not say that it drains: %+v", w.Status())
		}
		testworker.Stop(t, w.engine)
	})
}

func TestWhoDoesNotLeadHandsNothingOver(t *testing.T) {
	s, err := New(Config{Prefix: DefaultPrefix})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.handOver(t.Context(), "a2"); !errors.Is(err, interrex.ErrNotLeader) {
		t.Errorf("%v", err)
	}
}
