package hold_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/hold"
)

// numbered makes ids of which moves says whether their requests go on when they are gone.
type numbered struct {
	made, done int
	moves      bool
	err        error
}

func (n *numbered) Open(context.Context, bool) (hold.ID, error) {
	if n.err != nil {
		return hold.ID{}, n.err
	}
	n.made++
	return hold.ID{Text: fmt.Sprint("n.", n.made), Done: func() { n.done++ }, Moves: func(error) bool { return n.moves }}, nil
}

// goneOnce answers the first attempt of an operation that its name is gone.
func goneOnce(op string) func(call) error {
	first := true
	return func(c call) error {
		if c.op != op || !first {
			return nil
		}
		first = false
		return interrex.Errorf(interrex.ErrNameGone, "gone")
	}
}

func TestARequestGoesOnUnderAnotherName(t *testing.T) {
	for _, op := range []string{"claim", "transfer"} {
		for _, moves := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				clock := newBubble()
				s := newServer(clock)
				s.fault = goneOnce(op)
				ids := &numbered{moves: moves}
				k, err := hold.New(hold.Config{Backend: s, Clock: clock, IDs: ids, Holder: "me"})
				if err != nil {
					t.Fatal(err)
				}
				defer k.Close()
				h, err := k.Hold(t.Context(), "a/b", interrex.HoldOptions{TTL: 10 * time.Second})
				if err == nil && op == "transfer" {
					err = h.Transfer(t.Context(), "you")
				}
				if moves != (err == nil) || !moves && !errors.Is(err, interrex.ErrOutcomeUnknown) {
					t.Errorf("%s, moves %v: %v", op, moves, err)
				}
				used := map[string]bool{}
				for _, c := range s.calls {
					if c.op == op {
						used[c.id] = true
					}
				}
				if moves && len(used) != 2 || ids.done != ids.made {
					t.Errorf("%s: ids %v, %d of %d are closed", op, used, ids.done, ids.made)
				}
			})
		}
	}
}

// A release depends on no name: a caller that gets none must not keep its leases.
func TestAReleaseNeedsNoRequestID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := newBubble()
		s := newServer(clock)
		ids := &numbered{}
		k, err := hold.New(hold.Config{Backend: s, Clock: clock, IDs: ids, Holder: "me"})
		if err != nil {
			t.Fatal(err)
		}
		defer k.Close()
		h, err := k.Hold(t.Context(), "a/b", interrex.HoldOptions{TTL: 10 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		ids.err = interrex.Errorf(interrex.ErrOverloaded, "no name")
		if err := h.Release(t.Context()); err != nil {
			t.Error(err)
		}
		if last := s.calls[len(s.calls)-1]; last.op != "revoke" || last.id != "" {
			t.Errorf("it sent %+v", last)
		}
		if _, err := k.Hold(t.Context(), "a/c", interrex.HoldOptions{TTL: 10 * time.Second, Wait: time.Second}); !errors.Is(err, interrex.ErrOverloaded) {
			t.Errorf("without a name: %v", err)
		}
	})
}
