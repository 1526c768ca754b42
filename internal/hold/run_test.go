package hold_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/hold"
)

func (b *bench) keeperOver(backend hold.Backend) *hold.Keeper {
	b.Helper()
	k, err := hold.New(hold.Config{Backend: backend, Clock: b.clock, Holder: "me"})
	if err != nil {
		b.Fatal(err)
	}
	return k
}

func TestRunReleasesOnlyWhenItsFunctionHasReturned(t *testing.T) {
	within(t, func(b *bench) {
		ctx, cancel := context.WithCancelCause(b.Context())
		why := errors.New("enough")
		err := b.keeper.Run(ctx, key.String(), interrex.HoldOptions{TTL: ttl}, func(ctx context.Context, h interrex.Held) error {
			cancel(why)
			<-ctx.Done()
			time.Sleep(time.Second) // it cleans up
			b.equal("revokes while it runs", len(b.server.got("revoke")), 0)
			b.equal("holder while it runs", b.server.holder(key), "me")
			return nil
		})
		b.equal("result", err, why)
		b.equal("holder", b.server.holder(key), "")
	})
}

func TestAFunctionThatOverstaysLetsItsLeaseRunOut(t *testing.T) {
	within(t, func(b *bench) {
		ctx, cancel := context.WithCancel(b.Context())
		runs := 0
		_ = b.keeper.Run(ctx, key.String(), interrex.HoldOptions{TTL: ttl}, func(ctx context.Context, h interrex.Held) error {
			runs++
			b.cut("extend")
			<-ctx.Done()
			time.Sleep(ttl)
			b.equal("holder", b.server.holder(key), "")
			b.equal("revokes", len(b.server.got("revoke")), 0)
			b.equal("claims", len(b.server.got("claim")), 1)
			cancel()
			return nil
		})
		b.equal("runs", runs, 1)
		b.equal("overstayed", b.late.Load(), int64(1))
	})
}

func TestAFailedFunctionIsAWarningAndTheCampaignGoesOn(t *testing.T) {
	within(t, func(b *bench) {
		runs := 0
		err := b.keeper.Run(b.Context(), key.String(), interrex.HoldOptions{TTL: ttl}, func(context.Context, interrex.Held) error {
			if runs++; runs == 1 {
				return errors.New("the database is away")
			}
			return interrex.ErrStopCampaign
		})
		b.equal("result", err, nil)
		b.equal("runs", runs, 2)
		if w := b.log.warnings(); strings.Count(w, "\n") != 0 || !strings.Contains(w, key.String()) || !strings.Contains(w, "the database is away") {
			b.Errorf("warnings: %q", w)
		}
	})
}

func TestAFunctionEndsItsCampaignAfterTheRelease(t *testing.T) {
	reason := errors.New("the work is done")
	for _, c := range []struct {
		name            string
		returned, wants error
	}{
		{"the sentinel", interrex.ErrStopCampaign, nil},
		{"wrapped", fmt.Errorf("%w: %w", reason, interrex.ErrStopCampaign), reason},
		{"joined", errors.Join(interrex.ErrStopCampaign, reason), reason},
	} {
		within(t, func(b *bench) {
			err := b.keeper.Run(b.Context(), key.String(), interrex.HoldOptions{TTL: ttl}, func(context.Context, interrex.Held) error {
				return c.returned
			})
			if c.wants == nil && err != nil || !errors.Is(err, c.wants) || c.wants != nil && err != c.returned {
				b.Errorf("%s: Run returns %v", c.name, err)
			}
			b.equal("holder", b.server.holder(key), "")
			b.equal("warnings", b.log.warnings(), "")
		})
	}
}

func TestACampaignThatEndsWithItsLeaseUnreleasedSaysSo(t *testing.T) {
	within(t, func(b *bench) {
		err := b.keeper.Run(b.Context(), key.String(), interrex.HoldOptions{TTL: ttl}, func(context.Context, interrex.Held) error {
			b.cut("revoke")
			return interrex.ErrStopCampaign
		})
		if !errors.Is(err, interrex.ErrOutcomeUnknown) {
			b.Errorf("got %v", err)
		}
	})
}

func TestAFunctionThatEndsWithItsContextIsNoWarning(t *testing.T) {
	for _, returned := range []func(context.Context) error{context.Context.Err, context.Cause} {
		within(t, func(b *bench) {
			ctx, cancel := context.WithCancelCause(b.Context())
			why := errors.New("enough")
			err := b.keeper.Run(ctx, key.String(), interrex.HoldOptions{TTL: ttl}, func(ctx context.Context, _ interrex.Held) error {
				cancel(why)
				<-ctx.Done()
				return returned(ctx)
			})
			b.equal("result", err, why)
			b.equal("warnings", b.log.warnings(), "")
		})
	}
}

func TestRunCampaignsAgainUntilItsContextEnds(t *testing.T) {
	within(t, func(b *bench) {
		ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
		defer cancel()
		var tokens []interrex.Token
		err := b.keeper.Run(ctx, key.String(), interrex.HoldOptions{TTL: ttl}, func(ctx context.Context, h interrex.Held) error {
			tokens = append(tokens, h.Token())
			return errors.New("it failed")
		})
		b.equal("result", err, context.DeadlineExceeded)
		// 0.1 s doubling to 5 s, jittered by half: a dozen to two in a minute.
		if len(tokens) < 12 || len(tokens) > 30 {
			b.Errorf("%d runs in a minute", len(tokens))
		}
		for i := 1; i < len(tokens); i++ {
			if tokens[i] <= tokens[i-1] {
				b.Errorf("tokens %v do not rise", tokens)
			}
		}
	})
}

func TestRunWaitsForWhoHoldsTheLease(t *testing.T) {
	within(t, func(b *bench) {
		b.server.take(key, 3*time.Hour) // longer than one request may wait
		ctx, cancel := context.WithCancel(b.Context())
		err := b.keeper.Run(ctx, key.String(), interrex.HoldOptions{TTL: ttl}, func(ctx context.Context, h interrex.Held) error {
			cancel()
			return nil
		})
		b.equal("result", err, context.Canceled)
		if at := b.clock.Now(); at < 3*time.Hour || at > 3*time.Hour+ttl {
			b.Errorf("won at %s", at)
		}
	})
}

func TestRunEndsWithAnErrorThatNoRetryMends(t *testing.T) {
	within(t, func(b *bench) {
		b.server.set(func(s *server) { s.fault = func(call) error { return interrex.Errorf(interrex.ErrDenied, "no") } })
		nothing := func(context.Context, interrex.Held) error { return nil }
		err := b.keeper.Run(b.Context(), key.String(), interrex.HoldOptions{TTL: ttl}, nothing)
		if !errors.Is(err, interrex.ErrDenied) {
			b.Errorf("got %v", err)
		}
		if err := b.keeper.Run(b.Context(), "Bad/key", interrex.HoldOptions{}, nothing); !errors.Is(err, interrex.ErrInvalid) {
			b.Errorf("a bad key: %v", err)
		}
		if err := b.keeper.Run(b.Context(), key.String(), interrex.HoldOptions{}, nil); !errors.Is(err, interrex.ErrInvalid) {
			b.Errorf("no function: %v", err)
		}
	})
}

func TestRunEndsWhenItsKeeperIsClosed(t *testing.T) {
	within(t, func(b *bench) {
		done := make(chan error)
		go func() {
			done <- b.keeper.Run(b.Context(), key.String(), interrex.HoldOptions{TTL: ttl}, func(ctx context.Context, h interrex.Held) error {
				<-ctx.Done()
				return nil
			})
		}()
		time.Sleep(time.Minute)
		b.keeper.Close()
		b.equal("result", <-done, hold.ErrClosed)
		synctest.Wait()
		b.equal("holder", b.server.holder(key), "")
	})
}

func TestAPanicEndsTheHoldAndReleasesNothing(t *testing.T) {
	within(t, func(b *bench) {
		var hold context.Context
		defer func() {
			b.equal("panic", recover(), "boom")
			synctest.Wait()
			b.equal("holder", b.server.holder(key), "me")
			if hold.Err() == nil {
				b.Error("the hold goes on")
			}
		}()
		_ = b.keeper.Run(b.Context(), key.String(), interrex.HoldOptions{TTL: ttl}, func(ctx context.Context, h interrex.Held) error {
			hold = ctx
			panic("boom")
		})
	})
}

func TestADrainWaitsUntilEveryLeaseWasGivenUp(t *testing.T) {
	within(t, func(b *bench) {
		stopping := 3 * time.Second
		done := make(chan error)
		go func() {
			done <- b.keeper.Run(b.Context(), key.String(), interrex.HoldOptions{TTL: ttl}, func(ctx context.Context, h interrex.Held) error {
				<-ctx.Done()
				time.Sleep(stopping)
				return nil
			})
		}()
		synctest.Wait()
		if err := b.keeper.Drain(b.Context()); err != nil {
			b.Error(err)
		}
		if at := b.clock.Now(); at < stopping || at > stopping+time.Second {
			b.Errorf("drained at %s", at)
		}
		b.equal("holder", b.server.holder(key), "")
		b.equal("result of Run", <-done, hold.ErrClosed)
	})
}

func TestADrainThatIsOverSaysWhatIsLeft(t *testing.T) {
	within(t, func(b *bench) {
		h := b.hold(0)
		ctx, cancel := context.WithTimeout(b.Context(), time.Second)
		defer cancel()
		if err := b.keeper.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
			b.Errorf("got %v", err)
		}
		b.equal("cause", context.Cause(h.Context()), hold.ErrClosed)
		if err := h.Release(b.Context()); err != nil {
			b.Error(err)
		}
	})
}
