package api

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
)

// hasty refuses the first attempt, and is held up until the second has been taken.
type hasty struct {
	sends   atomic.Int32
	second  chan struct{}
	dropped chan int // the attempt that was taken back
}

func (h *hasty) Send(_ []*interrexv1.Operation, done func(int, []byte, error)) (abandon func(int)) {
	n := int(h.sends.Add(1))
	if n == 1 {
		done(0, nil, interrex.Errorf(interrex.KindNotLeader, "not here"))
		<-h.second
		time.Sleep(50 * time.Millisecond) // until its way back is known
	} else {
		close(h.second)
	}
	return func(int) {
		h.dropped <- n
		if n == 2 {
			done(0, nil, interrex.Errorf(interrex.KindOutcomeUnknown, "taken back"))
		}
	}
}

func TestACancelReachesTheNewestAttempt(t *testing.T) {
	h := &hasty{second: make(chan struct{}), dropped: make(chan int, 2)}
	_, f := follower(t, cluster(t, 3, func(c *Config) {
		c.Forward = func(context.Context, string) (Forwarder, error) { return h, nil }
	}))
	s := f.stream(t.Context(), f.url)
	s.send(waitOp(1, "attempt/x", "waiter", time.Minute))
	<-h.second
	time.Sleep(150 * time.Millisecond)
	s.cancel(1)
	select {
	case n := <-h.dropped:
		if n != 2 {
			t.Fatalf("attempt %d was taken back", n)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("nothing was taken back")
	}
	s.answers(1)
}
