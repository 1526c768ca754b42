package hold_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/interrex/interrex"
)

// looks are the ways to ask a hold whether it goes on; each returns an error when
// it does not.
var looks = map[string]func(h interrex.Held) error{
	"Err":   func(h interrex.Held) error { return h.Context().Err() },
	"Cause": func(h interrex.Held) error { return context.Cause(h.Context()) },
	"Check": func(h interrex.Held) error { return h.Check() },
	"Done": func(h interrex.Held) error {
		select {
		case <-h.Context().Done():
			return errors.New("done")
		default:
			return nil
		}
	},
	"a new child": func(h interrex.Held) error {
		ctx, cancel := context.WithCancel(h.Context())
		defer cancel()
		return ctx.Err()
	},
}

// agree checks that all say that the lease was lost.
func (b *bench) agree(h interrex.Held) {
	b.Helper()
	select {
	case <-h.Context().Done():
	default:
		b.Error("the context is not done")
	}
	b.equal("Err", h.Context().Err(), context.Canceled)
	cause := context.Cause(h.Context())
	if !errors.Is(cause, interrex.ErrNotHeld) {
		b.Errorf("the cause is %v", cause)
	}
	b.equal("Check", h.Check(), cause)
}

// Nothing runs between the end of the pause and the look: a process that has just
// been continued works before any timer.
func TestWhoeverLooksAfterAPauseSeesThatTheHoldIsOver(t *testing.T) {
	for what, look := range looks {
		within(t, func(b *bench) {
			h := b.hold(0)
			child, cancel := context.WithCancel(h.Context())
			defer cancel()
			synctest.Wait()
			b.clock.sleep(ttl - margin - 1)
			if err := look(h); err != nil {
				b.Errorf("%s, before the end: %v", what, err)
			}
			b.clock.sleep(1)
			if look(h) == nil {
				b.Errorf("%s sees an open context", what)
			}
			b.agree(h)
			b.equal("a child that was there before", child.Err(), context.Canceled)
		})
	}
}

func TestTheCauseAfterAPauseSaysWhatAnAgentSaid(t *testing.T) {
	within(t, func(b *bench) {
		b.badTime(0, 10*ttl)
		h := b.hold(0)
		time.Sleep(ttl / 2)
		b.clock.sleep(ttl)
		if err := h.Check(); !errors.Is(err, interrex.ErrNoLeader) {
			b.Errorf("got %v", err)
		}
	})
}

func TestAHoldThatIsOverKeepsItsCauseThroughAPause(t *testing.T) {
	within(t, func(b *bench) {
		h := b.hold(0)
		b.equal("Check", h.Check(), nil)
		if err := h.Release(b.Context()); err != nil {
			b.Fatal(err)
		}
		cause := h.Check()
		b.clock.sleep(2 * ttl)
		b.equal("Check", h.Check(), cause)
		b.equal("Err", h.Context().Err(), context.Canceled)
	})
}

// The extend is granted, and its answer is heard when the context should have
// ended: whether somebody has looked meanwhile must make no difference. What the
// scheduler runs first does, so there are many rounds.
func TestAnExtendThatIsAnsweredAfterTheEndGivesNothing(t *testing.T) {
	for range 200 {
		within(t, func(b *bench) {
			h := b.hold(0)
			b.server.set(func(s *server) {
				s.fault = func(c call) error {
					if c.op == "extend" {
						b.clock.sleep(ttl - margin - c.at)
					}
					return nil
				}
			})
			time.Sleep(ttl / 3) // the extend is sent, and answered at once
			synctest.Wait()
			b.equal("holder", b.server.holder(key), "me")
			b.agree(h)
			b.equal("left", time.Until(h.Deadline()), margin)
		})
	}
}

func TestTheDeadlineCountsAPause(t *testing.T) {
	within(t, func(b *bench) {
		h := b.hold(0)
		b.clock.sleep(3 * time.Second)
		b.equal("left", time.Until(h.Deadline()), ttl-3*time.Second)
	})
}
