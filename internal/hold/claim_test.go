package hold_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/hold"
)

func TestAClaimOfATakenNameIsHeldAtOnceWithoutAWait(t *testing.T) {
	within(t, func(b *bench) {
		b.server.take(key, time.Minute)
		_, err := b.keeper.Hold(b.Context(), key.String(), interrex.HoldOptions{TTL: ttl})
		if !errors.Is(err, interrex.ErrHeld) {
			b.Errorf("got %v", err)
		}
		b.equal("attempts", len(b.server.got("claim")), 1)
	})
}

func TestAWaiterAsksAgainAtLeastEveryQuarterOfTheTTL(t *testing.T) {
	within(t, func(b *bench) {
		b.server.take(key, time.Minute)
		h := b.hold(time.Hour)
		b.equal("granted at", b.clock.Now(), time.Minute)
		b.equal("holder", b.server.holder(key), "me")
		claims := b.server.got("claim")
		for i, c := range claims {
			b.equal("request id", c.id, claims[0].id)
			b.equal("attempt", c.attempt, uint32(i))
			b.equal("wait that is left", c.wait, time.Hour-c.at)
			if i > 0 && (c.at-claims[i-1].at > ttl/4 || c.at-claims[i-1].at < ttl/8) {
				b.Errorf("attempt %d came %s after the one before", i, c.at-claims[i-1].at)
			}
		}
		_ = h.Release(b.Context())
	})
}

func TestAWaitThatRunsOutIsHeld(t *testing.T) {
	within(t, func(b *bench) {
		b.server.take(key, time.Hour)
		_, err := b.keeper.Hold(b.Context(), key.String(), interrex.HoldOptions{TTL: ttl, Wait: time.Minute})
		if !errors.Is(err, interrex.ErrHeld) {
			b.Errorf("got %v", err)
		}
		b.equal("after", b.clock.Now(), time.Minute)
	})
}

func TestAWaitThatNobodyAnswersIsOutcomeUnknown(t *testing.T) {
	within(t, func(b *bench) {
		b.server.set(func(s *server) { s.deaf = func(call) bool { return true } })
		_, err := b.keeper.Claim(b.Context(), interrex.ClaimRequest{Key: key, Holder: "me", TTL: ttl, Wait: time.Minute})
		if !errors.Is(err, interrex.ErrOutcomeUnknown) {
			b.Errorf("got %v", err)
		}
		if took := b.clock.Now(); took < time.Minute || took > time.Minute+5*time.Second {
			b.Errorf("it took %s", took)
		}
	})
}

func TestAWaiterWhoseCallerGoesIsOutcomeUnknown(t *testing.T) {
	within(t, func(b *bench) {
		b.server.take(key, time.Hour)
		ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
		defer cancel()
		_, err := b.keeper.Hold(ctx, key.String(), interrex.HoldOptions{TTL: ttl, Wait: -1})
		if !errors.Is(err, interrex.ErrOutcomeUnknown) || !errors.Is(err, context.DeadlineExceeded) {
			b.Errorf("got %v", err)
		}
	})
}

func TestARefusalOfAnOlderAttemptIsNotBelieved(t *testing.T) {
	within(t, func(b *bench) {
		b.server.take(key, time.Minute)
		// The server answers an attempt `held` as soon as a newer one has come.
		h := b.hold(time.Hour)
		_ = h.Release(b.Context())
		b.equal("granted at", b.clock.Now(), time.Minute)
	})
}

func TestAWaiterThatIsTurnedAwayForNowAsksAgain(t *testing.T) {
	within(t, func(b *bench) {
		b.server.take(key, time.Minute)
		b.server.set(func(s *server) {
			s.fault = func(c call) error {
				if c.op == "claim" && c.attempt < 5 {
					return interrex.Errorf([]interrex.Kind{interrex.ErrUnavailable, interrex.ErrNoLeader, interrex.ErrOverloaded, interrex.ErrOutcomeUnknown, interrex.ErrDraining}[c.attempt], "not now")
				}
				return nil
			}
		})
		h := b.hold(time.Hour)
		_ = h.Release(b.Context())
	})
}

func TestAWaiterThatIsRefusedForGoodIsAnswered(t *testing.T) {
	within(t, func(b *bench) {
		b.server.set(func(s *server) { s.fault = func(call) error { return interrex.Errorf(interrex.ErrVetoed, "no") } })
		_, err := b.keeper.Hold(b.Context(), key.String(), interrex.HoldOptions{TTL: ttl, Wait: -1})
		if !errors.Is(err, interrex.ErrVetoed) {
			b.Errorf("got %v", err)
		}
	})
}

func TestAClaimWhoseAnswerIsLostIsReplayedFromItsFirstSendTime(t *testing.T) {
	within(t, func(b *bench) {
		b.server.set(func(s *server) { s.deaf = func(c call) bool { return c.op == "claim" && c.attempt == 0 } })
		h := b.hold(0)
		b.cut("extend")
		b.equal("token", h.Token(), interrex.Token(1))
		b.equal("context ended at", b.ended(h.Context()), ttl-margin)
	})
}

func TestALeaseGrantedAsItsCallerGoesIsGivenBack(t *testing.T) {
	within(t, func(b *bench) {
		ctx, cancel := context.WithCancel(b.Context())
		backend := &slowToLeave{server: b.server}
		keeper := b.keeperOver(backend)
		defer keeper.Close()
		time.AfterFunc(time.Second, cancel)
		_, err := keeper.Hold(ctx, key.String(), interrex.HoldOptions{TTL: ttl, Wait: -1})
		if !errors.Is(err, interrex.ErrOutcomeUnknown) {
			b.Errorf("got %v", err)
		}
		synctest.Wait()
		b.equal("revokes", len(b.server.got("revoke")), 1)
		b.equal("holder", b.server.holder(key), "")
	})
}

// slowToLeave is a backend whose claims are answered in the moment in which
// their caller goes.
type slowToLeave struct{ *server }

func (s *slowToLeave) Claim(ctx context.Context, r interrex.ClaimRequest) (interrex.LeaseAnswer, error) {
	<-ctx.Done()
	return s.server.Claim(context.WithoutCancel(ctx), r)
}

func TestAnAgentThatHangsDoesNotGatherAttempts(t *testing.T) {
	within(t, func(b *bench) {
		var live, most int
		b.server.set(func(s *server) { s.deaf = func(call) bool { live++; most = max(most, live); return true } })
		backend := &counting{server: b.server, ended: func() { b.server.set(func(*server) { live-- }) }}
		keeper := b.keeperOver(backend)
		defer keeper.Close()
		_, _ = keeper.Claim(b.Context(), interrex.ClaimRequest{Key: key, Holder: "me", TTL: interrex.MinTTL, Wait: time.Minute})
		if most > 5 {
			b.Errorf("%d attempts were under way at a time", most)
		}
	})
}

// Not even when its calls do not heed their contexts.
func TestCallsThatDoNotReturnAreFew(t *testing.T) {
	within(t, func(b *bench) {
		backend := &stubborn{server: b.server, release: make(chan struct{})}
		keeper := b.keeperOver(backend)
		defer keeper.Close()
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = keeper.Claim(b.Context(), interrex.ClaimRequest{Key: key, Holder: "me", TTL: interrex.MinTTL, Wait: time.Minute})
		}()
		time.Sleep(2 * time.Minute)
		n := backend.calls.Load()
		close(backend.release)
		<-done
		if n > 8 {
			b.Errorf("%d calls were under way", n)
		}
	})
}

func TestAClaimWaitsForAnHourAtMostAndIsThenMadeAgain(t *testing.T) {
	within(t, func(b *bench) {
		b.server.take(key, 90*time.Minute)
		h := b.hold(2 * time.Hour)
		for _, c := range b.server.got("claim") {
			if c.wait > interrex.MaxWait {
				b.Errorf("a claim waits for %s", c.wait)
			}
		}
		if err := h.Release(b.Context()); err != nil {
			b.Error(err)
		}
	})
}

func TestAClaimHeedsWhenItIsToBeTriedAgain(t *testing.T) {
	within(t, func(b *bench) {
		const after = 20 * time.Second
		b.server.set(func(s *server) {
			s.fault = func(c call) error {
				s.fault = nil
				e := interrex.Errorf(interrex.ErrHeld, "others are in front")
				e.RetryAfter = after
				return e
			}
		})
		h := b.hold(time.Hour)
		if claims := b.server.got("claim"); len(claims) < 2 || claims[1].at-claims[0].at < after {
			b.Errorf("claims were made at %+v", claims)
		}
		if err := h.Release(b.Context()); err != nil {
			b.Error(err)
		}
	})
}

// stubborn does not return from a claim before it is released.
type stubborn struct {
	*server
	calls   atomic.Int32
	release chan struct{}
}

func (s *stubborn) Claim(ctx context.Context, r interrex.ClaimRequest) (interrex.LeaseAnswer, error) {
	s.calls.Add(1)
	<-s.release
	return interrex.LeaseAnswer{}, interrex.Errorf(interrex.ErrUnavailable, "released")
}

type counting struct {
	*server
	ended func()
}

func (s *counting) Claim(ctx context.Context, r interrex.ClaimRequest) (interrex.LeaseAnswer, error) {
	defer s.ended()
	return s.server.Claim(ctx, r)
}

func TestAClaimThatDoesNotWaitCountsFromItsFirstAttempt(t *testing.T) {
	within(t, func(b *bench) {
		b.server.set(func(s *server) {
			s.fault = func(c call) error {
				if c.op == "extend" || c.attempt == 0 {
					return interrex.Errorf(interrex.ErrOutcomeUnknown, "the leader is gone")
				}
				return nil
			}
		})
		h := b.hold(0)
		b.equal("context ended at", b.ended(h.Context()), ttl-margin)
	})
}

func TestAGrantThatWasOverBeforeItWasHeardIsClaimedAnew(t *testing.T) {
	within(t, func(b *bench) {
		b.server.set(func(s *server) { s.deaf = func(c call) bool { return c.op == "claim" && c.at < 2*ttl } })
		h := b.hold(-1) // its first grant runs out unheard, and is not in force when it is replayed
		claims := b.server.got("claim")
		if first, last := claims[0], claims[len(claims)-1]; first.id == last.id {
			b.Error("the last claim has the request id of the one that is over")
		}
		b.equal("holder", b.server.holder(key), "me")
		_ = h.Release(b.Context())
	})
}

// counted is a clock that knows how often it was read, and jumps on when that
// is far too often.
type counted struct {
	*bubble
	reads atomic.Int64
}

func (c *counted) Now() time.Duration {
	if c.reads.Add(1)%100_000 == 0 {
		c.sleep(ttl)
	}
	return c.bubble.Now()
}

func TestAWaitThatRanOutBeforeItsNextAskingDoesNotSpin(t *testing.T) {
	within(t, func(b *bench) {
		clock := &counted{bubble: b.clock}
		keeper, err := hold.New(hold.Config{Backend: b.server, Clock: clock, Holder: "me"})
		if err != nil {
			b.Fatal(err)
		}
		defer keeper.Close()
		b.server.take(key, time.Hour)
		b.server.set(func(s *server) { s.deaf = func(call) bool { return true } })
		go func() {
			time.Sleep(ttl / 2) // the next attempt is scheduled well before the end
			b.clock.sleep(ttl * 7 / 10)
		}()
		_, err = keeper.Claim(b.Context(), interrex.ClaimRequest{Key: key, Holder: "me", TTL: ttl, Wait: ttl})
		if !errors.Is(err, interrex.ErrOutcomeUnknown) {
			b.Errorf("got %v", err)
		}
		if n := clock.reads.Load(); n > 1000 {
			b.Errorf("the clock was read %d times", n)
		}
	})
}
