package hold_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/hold"
	"github.com/interrex/interrex/internal/silent"
	"github.com/interrex/interrex/internal/validation"
)

const (
	ttl    = 10 * time.Second
	margin = time.Second
)

var key = interrex.Key{Namespace: "mine", Name: "leader"}

// bench is a keeper and its server in a bubble.
type bench struct {
	*testing.T
	clock  *bubble
	server *server
	keeper *hold.Keeper
	log    *lines
	late   atomic.Int64 // functions of Run that ended too late
}

// within runs a test in a bubble. That no goroutine outlives it is synctest's
// own rule.
func within(t *testing.T, test func(b *bench)) {
	t.Helper()
	withinOf(t, 1, test)
}

// withinOf is within for a client of several agents.
func withinOf(t *testing.T, agents int, test func(b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{T: t, clock: newBubble(), log: new(lines)}
		b.server = newServer(b.clock)
		var err error
		b.keeper, err = hold.New(hold.Config{
			Backend: b.server, Clock: b.clock, Holder: "me", Logger: b.log, Agents: agents,
			Overstayed: func() { b.late.Add(1) },
		})
		if err != nil {
			t.Fatal(err)
		}
		defer b.keeper.Close()
		test(b)
	})
}

// lines are what a keeper has logged.
type lines struct {
	silent.Logger
	mu         sync.Mutex
	warn, info []string
}

func (l *lines) Infof(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.info = append(l.info, fmt.Sprintf(format, args...))
}

func (l *lines) Warningf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.warn = append(l.warn, fmt.Sprintf(format, args...))
}

// warnings returns them in one text.
func (l *lines) warnings() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.warn, "\n")
}

func (b *bench) hold(wait time.Duration) interrex.Held {
	b.Helper()
	h, err := b.keeper.Hold(b.Context(), key.String(), interrex.HoldOptions{TTL: ttl, Wait: wait})
	if err != nil {
		b.Fatalf("cannot hold: %v", err)
	}
	return h
}

// cut makes every operation fail from now on.
func (b *bench) cut(ops ...string) {
	b.server.set(func(s *server) {
		s.fault = func(c call) error {
			for _, op := range ops {
				if c.op == op {
					return interrex.Errorf(interrex.ErrUnavailable, "the line is cut")
				}
			}
			return nil
		}
	})
}

// ended waits for the end of a context and returns the time of it.
func (b *bench) ended(ctx context.Context) time.Duration {
	<-ctx.Done()
	return b.clock.Now()
}

func (b *bench) equal(what string, got, want any) {
	b.Helper()
	if got != want {
		b.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func TestMarginIsATenthWithinItsBounds(t *testing.T) {
	for ttl, want := range map[time.Duration]time.Duration{
		80 * time.Millisecond: 40 * time.Millisecond, interrex.MinTTL: 50 * time.Millisecond,
		500 * time.Millisecond: 50 * time.Millisecond, time.Second: 100 * time.Millisecond, time.Minute: 6 * time.Second,
	} {
		if got := hold.Margin(ttl); got != want {
			t.Errorf("the margin of %s is %s, not %s", ttl, got, want)
		}
	}
}

func TestContextEndsAMarginBeforeTheTTLSinceSending(t *testing.T) {
	within(t, func(b *bench) {
		b.server.set(func(s *server) { s.up = func(string) time.Duration { return time.Second } })
		b.server.set(func(s *server) { s.down = func(string) time.Duration { return 2 * time.Second } })
		b.cut("extend")
		h := b.hold(0)
		b.equal("held after", b.clock.Now(), 3*time.Second)
		b.equal("deadline", time.Until(h.Deadline()), ttl-3*time.Second)
		b.equal("context ended at", b.ended(h.Context()), ttl-margin)
		b.equal("still the server's", b.server.holder(key), "me")
		if cause := context.Cause(h.Context()); !errors.Is(cause, interrex.ErrNotHeld) {
			b.Errorf("the cause is %v", cause)
		}
	})
}

func TestExtendMovesTheDeadlineByItsOwnSendTime(t *testing.T) {
	within(t, func(b *bench) {
		b.server.set(func(s *server) { s.down = func(string) time.Duration { return 2 * time.Second } })
		h := b.hold(0)
		synctest.Wait()
		time.Sleep(ttl / 3) // the first extend is answered now
		synctest.Wait()
		b.cut("extend")
		sent := b.server.got("extend")[0].at
		b.equal("first extend at", sent, ttl/3)
		b.equal("context ended at", b.ended(h.Context()), sent+ttl-margin)
	})
}

func TestAnOlderExtendThatIsAnsweredLaterTakesNothingBack(t *testing.T) {
	within(t, func(b *bench) {
		late := true
		b.server.set(func(s *server) {
			s.down = func(op string) time.Duration {
				if op == "extend" && late {
					late = false
					return ttl / 2 // after the next one
				}
				return 0
			}
		})
		h := b.hold(0)
		time.Sleep(ttl * 3 / 4)
		synctest.Wait()
		b.equal("extends", len(b.server.got("extend")), 2)
		sent := b.server.got("extend")[1].at
		b.cut("extend")
		time.Sleep(ttl / 4)
		b.equal("context ended at", b.ended(h.Context()), sent+ttl-margin)
	})
}

func TestAHeldLeaseIsExtendedAsLongAsItLives(t *testing.T) {
	within(t, func(b *bench) {
		h := b.hold(0)
		time.Sleep(24 * time.Hour)
		b.equal("ended", h.Context().Err(), nil)
		b.equal("holder", b.server.holder(key), "me")
	})
}

func TestGrantThatComesTooLateIsGivenBack(t *testing.T) {
	for _, wait := range []time.Duration{0, ttl} {
		within(t, func(b *bench) {
			b.server.set(func(s *server) {
				s.fault = func(c call) error {
					if c.op == "claim" {
						b.clock.sleep(ttl - margin) // the machine sleeps while the request travels
					}
					return nil
				}
			})
			_, err := b.keeper.Hold(b.Context(), key.String(), interrex.HoldOptions{TTL: ttl, Wait: wait})
			if !errors.Is(err, interrex.ErrUnavailable) {
				b.Errorf("got %v", err)
			}
			b.equal("holder", b.server.holder(key), "")
		})
	}
}

func TestAClaimThatNobodyAnswersIsOutcomeUnknown(t *testing.T) {
	within(t, func(b *bench) {
		b.server.set(func(s *server) { s.deaf = func(call) bool { return true } })
		_, err := b.keeper.Hold(b.Context(), key.String(), interrex.HoldOptions{TTL: ttl})
		if !errors.Is(err, interrex.ErrOutcomeUnknown) {
			b.Errorf("got %v", err)
		}
		b.equal("after", b.clock.Now(), ttl-margin)
	})
}

func TestGrantOfAWaitCountsFromTheAttemptThatItNames(t *testing.T) {
	within(t, func(b *bench) {
		b.server.take(key, 3*time.Minute)
		b.cut("extend")
		b.server.set(func(s *server) {
			s.down = func(op string) time.Duration {
				if op == "claim" {
					return 4 * time.Second // at least one more is sent meanwhile
				}
				return 0
			}
		})
		h := b.hold(time.Hour)
		var named uint32
		for _, a := range b.server.granted {
			named = a.Attempt
		}
		claims := b.server.got("claim")
		sent := claims[named].at
		if newest := claims[len(claims)-1]; newest.attempt == named {
			b.Fatal("the grant names the newest attempt: this test shows nothing")
		}
		b.equal("context ended at", b.ended(h.Context()), sent+ttl-margin)
	})
}

func TestNotHeldEndsTheHoldAtOnce(t *testing.T) {
	within(t, func(b *bench) {
		h := b.hold(0)
		time.Sleep(time.Second)
		b.server.end(key)
		b.equal("context ended at", b.ended(h.Context()), ttl/3)
		if cause := context.Cause(h.Context()); !errors.Is(cause, interrex.ErrNotHeld) {
			b.Errorf("the cause is %v", cause)
		}
		if err := h.Release(b.Context()); err != nil {
			b.Error(err)
		}
		b.equal("revokes of a dead token", len(b.server.got("revoke")), 0)
	})
}

func TestAnUnavailableAgentIsAskedAgainWithinTheDeadline(t *testing.T) {
	for _, kind := range []interrex.Kind{interrex.ErrUnavailable, interrex.ErrOutcomeUnknown, interrex.ErrNoLeader, interrex.ErrDenied} {
		within(t, func(b *bench) {
			h := b.hold(0)
			b.server.set(func(s *server) {
				s.fault = func(c call) error {
					if c.op == "extend" && c.at < ttl/2 {
						return interrex.Errorf(kind, "not now")
					}
					return nil
				}
			})
			time.Sleep(2 * ttl)
			if h.Context().Err() != nil {
				b.Errorf("%s ended the hold: %v", kind, context.Cause(h.Context()))
			}
		})
	}
}

// badTime makes every extend from one time to another fail: the first for want of
// a leader, the others because no agent can be reached.
func (b *bench) badTime(from, to time.Duration) {
	b.server.set(func(s *server) {
		failed := 0
		s.fault = func(c call) error {
			if c.op != "extend" || c.at < from || c.at >= to {
				return nil
			}
			if failed++; failed == 1 {
				return interrex.Errorf(interrex.ErrNoLeader, "two of three are away")
			}
			return interrex.Errorf(interrex.ErrUnavailable, "nobody is there")
		}
	})
}

func TestExtendsThatFailAreSaidOnceAndSoIsTheirEnd(t *testing.T) {
	within(t, func(b *bench) {
		b.badTime(ttl, 3*ttl/2)
		h := b.hold(0)
		time.Sleep(3 * ttl)
		b.equal("ended", h.Context().Err(), nil)
		const want = `^cannot extend lease mine/leader under token \d+: no leader: two of three are away; unless a retry succeeds, its work is told to stop in [56]\.\d s$`
		if said := b.log.warnings(); !regexp.MustCompile(want).MatchString(said) {
			b.Errorf("warnings: %s", said)
		}
		if len(b.log.info) != 1 || !strings.Contains(b.log.info[0], "extended again") {
			b.Errorf("it says: %v", b.log.info)
		}
	})
}

// The client asks the next agent.
func TestAnAgentThatStopsOutOfSeveralIsNotWarnedAbout(t *testing.T) {
	for _, failing := range []int{2, 3} {
		withinOf(t, 3, func(b *bench) {
			left := failing
			b.server.set(func(s *server) {
				s.fault = func(c call) error {
					if c.op != "extend" || left == 0 {
						return nil
					}
					left--
					return interrex.Errorf(interrex.ErrDraining, "it stops")
				}
			})
			h := b.hold(0)
			time.Sleep(3 * ttl)
			b.equal("ended", h.Context().Err(), nil)
			if warned := b.log.warnings() != ""; warned != (failing == 3) || (len(b.log.info) > 0) != warned {
				b.Errorf("%d agents of 3 fail: warnings %q, info %q", failing, b.log.warnings(), b.log.info)
			}
		})
	}
}

func TestALossIsBlamedOnWhatAnAgentSaid(t *testing.T) {
	within(t, func(b *bench) {
		b.badTime(0, 10*ttl)
		h := b.hold(0)
		<-h.Context().Done()
		if why := context.Cause(h.Context()).Error(); !strings.Contains(why, "no leader: two of three are away") || strings.Contains(why, "unavailable") {
			b.Errorf("it was lost because %s", why)
		}
	})
}

func TestAnAgentThatHangsIsAskedAgain(t *testing.T) {
	within(t, func(b *bench) {
		h := b.hold(0)
		n := 0
		b.server.set(func(s *server) { s.deaf = func(c call) bool { n++; return n == 1 } })
		time.Sleep(2 * ttl)
		b.equal("ended", h.Context().Err(), nil)
	})
}

// Those who wait on a channel that they took before see it without a look.
func TestAMachineThatSleptEndsItsHoldWhenItWakesUp(t *testing.T) {
	for ttl, bound := range map[time.Duration]time.Duration{ttl: margin / 4, 20 * ttl: time.Second} {
		within(t, func(b *bench) {
			b.cut("extend")
			h, err := b.keeper.Hold(b.Context(), key.String(), interrex.HoldOptions{TTL: ttl})
			if err != nil {
				b.Fatal(err)
			}
			done := h.Context().Done()
			time.Sleep(1100 * time.Millisecond) // just after a second's timer
			b.clock.sleep(ttl)                  // as a suspend: timers have not moved
			woke := b.clock.Now()
			<-done
			if late := b.clock.Now() - woke; late > bound {
				b.Errorf("a hold of %s ended %s after the wake-up", ttl, late)
			}
		})
	}
}

// An extend is tried again as soon as the cluster says, and at the latest when it
// is due anyway.
func TestAnExtendHeedsWhenItIsToBeTriedAgain(t *testing.T) {
	for after, want := range map[time.Duration]time.Duration{ttl / 5: ttl / 5, time.Hour: ttl / 3} {
		within(t, func(b *bench) {
			b.server.set(func(s *server) {
				s.fault = func(c call) error {
					if c.op != "extend" {
						return nil
					}
					e := interrex.Errorf(interrex.ErrOverloaded, "not so fast")
					e.RetryAfter = after
					return e
				}
			})
			h := b.hold(0)
			b.ended(h.Context())
			extends := b.server.got("extend")
			if len(extends) < 2 {
				b.Fatalf("%d extends", len(extends))
			}
			if got := extends[1].at - extends[0].at; got != want {
				b.Errorf("asked to wait for %s, it tries again after %s, want %s", after, got, want)
			}
		})
	}
}

// What an extend that was made good has failed with does not explain the end.
func TestAnEndIsNotExplainedByAFailureThatIsMended(t *testing.T) {
	within(t, func(b *bench) {
		h := b.hold(0)
		b.cut("extend")
		time.Sleep(ttl / 2)
		b.server.set(func(s *server) { s.fault = nil })
		time.Sleep(ttl)
		b.server.set(func(s *server) { s.deaf = func(c call) bool { return c.op == "extend" } })
		b.ended(h.Context())
		if err := context.Cause(h.Context()); err == nil || strings.Contains(err.Error(), "the line is cut") {
			b.Errorf("it ended with %v", err)
		}
	})
}

func TestContextEndsBeforeRevokeAndTransferAreSent(t *testing.T) {
	for _, op := range []string{"revoke", "transfer"} {
		within(t, func(b *bench) {
			h := b.hold(0)
			b.server.set(func(s *server) {
				s.fault = func(c call) error {
					if c.op == op && h.Context().Err() == nil {
						b.Errorf("%s is sent while the work may go on", op)
					}
					return nil
				}
			})
			err := h.Release
			if op == "transfer" {
				err = func(ctx context.Context) error { return h.Transfer(ctx, "you") }
			}
			if err := err(b.Context()); err != nil {
				b.Fatal(err)
			}
			b.equal("cause", context.Cause(h.Context()), hold.ErrReleased)
			want := map[string]string{"revoke": "", "transfer": "you"}[op]
			b.equal("holder", b.server.holder(key), want)
		})
	}
}

func TestNothingIsExtendedOrBelievedAfterARelease(t *testing.T) {
	within(t, func(b *bench) {
		h := b.hold(0)
		b.server.set(func(s *server) { s.down = func(op string) time.Duration { return time.Second } })
		time.Sleep(ttl/3 + time.Millisecond) // an extend is under way
		b.cut("revoke", "transfer")
		deadline := h.Deadline()
		if err := h.Transfer(b.Context(), "you"); !errors.Is(err, interrex.ErrOutcomeUnknown) {
			b.Errorf("a transfer that nobody answers: %v", err)
		}
		sent := len(b.server.got("extend"))
		time.Sleep(3 * ttl)
		b.equal("extends", len(b.server.got("extend")), sent)
		b.equal("deadline", h.Deadline().Equal(deadline), true)
		b.equal("holder", b.server.holder(key), "")
	})
}

func TestReleaseIsInsistedOnWithinItsBound(t *testing.T) {
	within(t, func(b *bench) {
		h := b.hold(0)
		b.server.set(func(s *server) {
			s.fault = func(c call) error {
				if c.op == "revoke" && c.attempt < 3 {
					return interrex.Errorf(interrex.ErrOutcomeUnknown, "the leader is gone")
				}
				return nil
			}
		})
		if err := h.Release(b.Context()); err != nil {
			b.Fatal(err)
		}
		revokes := b.server.got("revoke")
		b.equal("attempts", len(revokes), 4)

		b.cut("revoke")
		h, start := b.hold(0), b.clock.Now()
		if err := h.Release(b.Context()); !errors.Is(err, interrex.ErrOutcomeUnknown) {
			b.Errorf("a release that nobody answers: %v", err)
		}
		if took := b.clock.Now() - start; took > 10*time.Second {
			b.Errorf("it took %s", took)
		}
		b.server.set(func(s *server) { s.fault = nil })
		if err := h.Release(b.Context()); err != nil {
			b.Errorf("called again: %v", err)
		}
		sent := len(b.server.got("revoke"))
		if err := h.Release(b.Context()); err != nil {
			b.Errorf("called once more: %v", err)
		}
		b.equal("revokes after it was released", len(b.server.got("revoke")), sent)
	})
}

func TestAReleaseThatIsRefusedAfterALostAnswerIsUnknown(t *testing.T) {
	for want, kinds := range map[interrex.Kind][]interrex.Kind{
		interrex.ErrOutcomeUnknown:  {interrex.ErrOutcomeUnknown, interrex.ErrUnauthenticated},
		interrex.ErrUnauthenticated: {interrex.ErrNoLeader, interrex.ErrUnauthenticated},
	} {
		within(t, func(b *bench) {
			h := b.hold(0)
			b.server.set(func(s *server) {
				s.fault = func(c call) error {
					if c.op == "revoke" {
						return interrex.Errorf(kinds[min(int(c.attempt), 1)], "no")
					}
					return nil
				}
			})
			if err := h.Release(b.Context()); interrex.KindOf(err) != want {
				b.Errorf("after %v: %v", kinds, err)
			}
		})
	}
}

func TestReleaseWhoseAnswerIsLostIsDoneOnce(t *testing.T) {
	within(t, func(b *bench) {
		h := b.hold(0)
		b.server.set(func(s *server) { s.deaf = func(c call) bool { return c.op == "revoke" && c.attempt == 0 } })
		if err := h.Release(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.equal("holder", b.server.holder(key), "")
	})
}

func TestAHoldEndsWithItsCallersContextAndIsNotReleased(t *testing.T) {
	within(t, func(b *bench) {
		ctx, cancel := context.WithCancelCause(b.Context())
		h, err := b.keeper.Hold(ctx, key.String(), interrex.HoldOptions{TTL: ttl})
		if err != nil {
			b.Fatal(err)
		}
		why := errors.New("enough")
		cancel(why)
		synctest.Wait()
		b.equal("cause", context.Cause(h.Context()), why)
		b.equal("holder", b.server.holder(key), "me")
		if err := h.Release(context.WithoutCancel(ctx)); err != nil {
			b.Error(err)
		}
		b.equal("holder after release", b.server.holder(key), "")
	})
}

func TestCloseEndsAllHoldsAndReleasesNone(t *testing.T) {
	within(t, func(b *bench) {
		h := b.hold(0)
		b.keeper.Close()
		b.equal("cause", context.Cause(h.Context()), hold.ErrClosed)
		b.equal("holder", b.server.holder(key), "me")
		if _, err := b.keeper.Hold(b.Context(), "mine/other", interrex.HoldOptions{}); err == nil {
			b.Error("a closed keeper holds a lease")
		}
	})
}

func TestHoldSaysWhatIsMalformed(t *testing.T) {
	within(t, func(b *bench) {
		for _, o := range []interrex.HoldOptions{{TTL: time.Millisecond}, {TTL: 25 * time.Hour}, {Holder: "a\nb"}} {
			if _, err := b.keeper.Hold(b.Context(), key.String(), o); !errors.Is(err, interrex.ErrInvalid) {
				b.Errorf("%+v: %v", o, err)
			}
		}
		if _, err := b.keeper.Hold(b.Context(), "No/key", interrex.HoldOptions{}); !errors.Is(err, interrex.ErrInvalid) {
			b.Errorf("a bad key: %v", err)
		}
	})
}

func TestDefaultHolderIsTheEnvironmentsOrOneProcesss(t *testing.T) {
	t.Setenv(hold.HolderVariable, "ann")
	if got := hold.DefaultHolder(); got != "ann" {
		t.Errorf("got %q", got)
	}
	t.Setenv(hold.HolderVariable, "")
	a, b := hold.DefaultHolder(), hold.DefaultHolder()
	if a == b || validation.Holder(a) != nil {
		t.Errorf("got %q and %q", a, b)
	}
}

func TestTheSystemsClockGoesOn(t *testing.T) {
	c := hold.SystemClock()
	if a, b := c.Now(), c.Now(); a <= 0 || b < a {
		t.Errorf("got %s, then %s", a, b)
	}
}
