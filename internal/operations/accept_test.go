package operations

import (
	"context"
	"testing"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/consistency"
	"github.com/interrex/interrex/queue"
)

func TestAMessageStartsTheLookForWhatIsNeverAnswered(t *testing.T) {
	c := newCouriered(t, admission.Public)
	st := &stream{server: c.server, courier: c.courier, wake: make(chan struct{}, 1)}
	st.accept(&interrexv1.OperateRequest{})
	if len(st.wake) != 0 {
		t.Fatal("the writer is woken for nothing")
	}
	st.courier.remote[&batch{}] = true
	st.accept(&interrexv1.OperateRequest{})
	if len(st.wake) != 1 {
		t.Fatal("nobody looks, and the writer is not told")
	}
	<-st.wake
	st.sweeping.Store(true)
	st.accept(&interrexv1.OperateRequest{})
	if len(st.wake) != 0 {
		t.Error("the writer is told though it looks anyway")
	}
}

func TestAStreamThatEndsTakesNothingMore(t *testing.T) {
	c := newCouriered(t, admission.Public, func(config *Config, _ *consistency.Config) { config.MaxOpen = 1 })
	ended, end := context.WithCancel(t.Context())
	st := &stream{server: c.server, ended: ended, open: map[uint64]*request{}}
	if err := st.mayOpen(1); err != nil {
		t.Fatal(err)
	}
	end()
	if err := st.mayOpen(1); interrex.KindOf(err) != interrex.ErrDraining {
		t.Errorf("it has to end: %v", err)
	}
	st.ended, st.closed = t.Context(), true
	if err := st.mayOpen(1); interrex.KindOf(err) != interrex.ErrDraining {
		t.Errorf("%v", err)
	}
}

func TestADrainEndsWaitsAndNothingElse(t *testing.T) {
	c := newCouriered(t, admission.Public)
	waits, enters, reads := c.request(false), c.request(false), &request{}
	waits.Wait = &queue.Wait{Until: c.begin}
	st := &stream{open: map[uint64]*request{1: waits, 2: enters, 3: reads}}
	st.endWaits()
	if !waits.isGone() || enters.isGone() || reads.isGone() {
		t.Errorf("a claim that waits: %v, one that enters the log: %v, a read: %v", waits.isGone(), enters.isGone(), reads.isGone())
	}
}

// Of a message no read is begun after one operation for which there was no room, unless its
// operations are those of many callers; writes are tried. The pause is for all of them.
func TestAfterAnOperationThatIsOverloadedNoReadIsBegun(t *testing.T) {
	extend := asks(t, 4, interrexv1.LeaseServiceExtendProcedure, &interrexv1.ExtendRequest{Key: "a/b", Token: 7})
	for door, untried := range map[admission.Door]bool{admission.Public: true, admission.Peer: false} {
		st := newStream(t, newServer(t)) // two may be open
		st.caller.Door = door
		st.accept(&interrexv1.OperateRequest{Operations: []*interrexv1.Operation{gets(t, 1), gets(t, 2), gets(t, 3), extend, gets(t, 5)}})
		if len(st.refused) != 3 || st.excess != 3 {
			t.Fatalf("door %d: refused are %v, and the pause is for %d", door, st.refused, st.excess)
		}
		first, write, second := st.refused[0].err, st.refused[1].err, st.refused[2].err
		if (second == write) != untried || write == first {
			t.Errorf("door %d: %v, %v, %v", door, first, write, second)
		}
	}
}
