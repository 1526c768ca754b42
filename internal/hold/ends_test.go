package hold_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/interrex/interrex"
)

// scripted is a server whose claims are answered as a test says.
type scripted struct {
	*server
	answer func(ctx context.Context, r interrex.ClaimRequest) (interrex.LeaseAnswer, error)
}

func (s scripted) Claim(ctx context.Context, r interrex.ClaimRequest) (interrex.LeaseAnswer, error) {
	return s.answer(ctx, r)
}

func TestAnAnswerThatWasLostIsAskedForInTimeWhateverTheTTL(t *testing.T) {
	within(t, func(b *bench) {
		k := b.bounded()
		defer k.Close()
		b.server.set(func(s *server) { s.deaf = func(c call) bool { return c.op == "claim" && c.attempt == 0 } })
		h, err := k.Hold(b.Context(), key.String(), interrex.HoldOptions{TTL: interrex.MaxTTL})
		if err != nil {
			b.Fatalf("got %v", err)
		}
		_ = h.Release(b.Context())
	})
}

func TestAClaimThatIsRefusedAsksEverMoreSeldom(t *testing.T) {
	within(t, func(b *bench) {
		b.server.refuse(interrex.ErrNoLeader)
		_, _ = b.keeper.Hold(b.Context(), key.String(), interrex.HoldOptions{TTL: time.Hour, Wait: 2 * time.Minute})
		if n := len(b.server.got("claim")); n > 300 {
			b.Errorf("it asked %d times in two minutes", n)
		}
	})
}

func TestOneAttemptThatMayHaveHappenedMakesAnUnknownOutcome(t *testing.T) {
	within(t, func(b *bench) {
		b.server.refuse(interrex.ErrOutcomeUnknown, interrex.ErrNoLeader)
		_, err := b.keeper.Hold(b.Context(), key.String(), interrex.HoldOptions{TTL: ttl})
		if !errors.Is(err, interrex.ErrOutcomeUnknown) {
			b.Errorf("got %v", err)
		}
	})
}

func TestAnErrorOfNoKindIsAskedAgain(t *testing.T) {
	within(t, func(b *bench) {
		b.server.set(func(s *server) {
			s.fault = func(c call) error {
				if c.op == "claim" && c.attempt == 0 {
					return errors.New("a wire broke")
				}
				return nil
			}
		})
		h := b.hold(0)
		b.equal("attempts", len(b.server.got("claim")), 2)
		_ = h.Release(b.Context())
	})
}

func TestAClaimWhoseCallerGoesSaysWhatItKnows(t *testing.T) {
	why := errors.New("the program ends")
	gone := func(b *bench) context.Context {
		ctx, cancel := context.WithCancelCause(b.Context())
		time.AfterFunc(ttl/20, func() { cancel(why) })
		return ctx
	}
	hold := func(b *bench, ctx context.Context) error {
		_, err := b.keeper.Hold(ctx, key.String(), interrex.HoldOptions{TTL: ttl, Wait: -1})
		if !errors.Is(err, why) || !strings.Contains(err.Error(), why.Error()) {
			b.Errorf("it does not say why: %v", err)
		}
		return err
	}
	for _, c := range []struct {
		what string
		set  func(b *bench, s *server)
		want string
	}{
		{"it was granted, and is given back", func(b *bench, s *server) {
			s.deaf = func(c call) bool { return c.op == "claim" && c.attempt == 0 }
		}, "is not held now"},
		{"it was granted, and cannot be given back", func(b *bench, s *server) {
			s.deaf = func(c call) bool { return c.op == "revoke" || c.attempt == 0 }
		}, "may be granted nevertheless"},
		{"somebody else holds it", func(b *bench, s *server) { b.server.take(key, time.Hour) }, "is not held now"},
		{"nobody answers", func(b *bench, s *server) { s.deaf = func(call) bool { return true } }, "may be granted nevertheless"},
	} {
		within(t, func(b *bench) {
			b.server.set(func(s *server) { c.set(b, s) })
			if err := hold(b, gone(b)); !errors.Is(err, interrex.ErrOutcomeUnknown) || !strings.Contains(err.Error(), c.want) {
				b.Errorf("%s: %v", c.what, err)
			}
			claims := b.server.got("claim")
			if last := claims[len(claims)-1]; last.wait != 0 || last.id != claims[0].id || last.attempt != uint32(len(claims))-1 {
				b.Errorf("%s: the last of %d claims is %+v", c.what, len(claims), last)
			}
		})
	}
	within(t, func(b *bench) {
		b.server.refuse(interrex.ErrNoLeader)
		if err := hold(b, gone(b)); !errors.Is(err, interrex.ErrNoLeader) {
			b.Errorf("each attempt was refused: %v", err)
		}
	})
}

func TestAnAttemptThatEndsWithItsCallerCountsAsWhatItSays(t *testing.T) {
	within(t, func(b *bench) {
		k := b.keeperOver(scripted{b.server, func(ctx context.Context, _ interrex.ClaimRequest) (interrex.LeaseAnswer, error) {
			<-ctx.Done()
			return interrex.LeaseAnswer{}, interrex.Errorf(interrex.ErrUnavailable, "nothing was sent")
		}})
		defer k.Close()
		ctx, cancel := context.WithTimeout(b.Context(), time.Second)
		defer cancel()
		_, err := k.Hold(ctx, key.String(), interrex.HoldOptions{TTL: ttl, Wait: -1})
		if !errors.Is(err, interrex.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
			b.Errorf("got %v", err)
		}
	})
}

func TestALeaseThatWasGrantedLateIsGivenBackThoughNobodyCanBeAskedAnyMore(t *testing.T) {
	within(t, func(b *bench) {
		k := b.keeperOver(scripted{b.server, func(ctx context.Context, r interrex.ClaimRequest) (interrex.LeaseAnswer, error) {
			if r.Attempt > 0 {
				return interrex.LeaseAnswer{}, interrex.Errorf(interrex.ErrUnavailable, "the agent is away")
			}
			<-ctx.Done()
			return b.server.Claim(context.WithoutCancel(ctx), r)
		}})
		defer k.Close()
		ctx, cancel := context.WithTimeout(b.Context(), ttl/20)
		defer cancel()
		if _, err := k.Hold(ctx, key.String(), interrex.HoldOptions{TTL: ttl, Wait: -1}); err == nil {
			b.Error("it is held after its caller has gone")
		}
		b.equal("holder", b.server.holder(key), "")
	})
}

func TestAGrantToAnAttemptThatWasNeverMadeGivesNothing(t *testing.T) {
	within(t, func(b *bench) {
		k := b.keeperOver(scripted{b.server, func(ctx context.Context, r interrex.ClaimRequest) (interrex.LeaseAnswer, error) {
			a, err := b.server.Claim(ctx, r)
			a.Attempt += 100
			return a, err
		}})
		defer k.Close()
		_, err := k.Hold(b.Context(), key.String(), interrex.HoldOptions{TTL: ttl, Wait: time.Second})
		if !errors.Is(err, interrex.ErrUnavailable) {
			b.Errorf("got %v", err)
		}
		b.equal("holder", b.server.holder(key), "")
	})
}

func TestALeaseWhoseGrantIsHeardTwiceIsKept(t *testing.T) {
	within(t, func(b *bench) {
		k := b.keeperOver(scripted{b.server, func(ctx context.Context, r interrex.ClaimRequest) (interrex.LeaseAnswer, error) {
			a, err := b.server.Claim(context.WithoutCancel(ctx), r)
			if r.Attempt == 0 {
				<-ctx.Done() // its answer comes when another one was heard
			}
			return a, err
		}})
		defer k.Close()
		h, err := k.Hold(b.Context(), key.String(), interrex.HoldOptions{TTL: ttl, Wait: time.Minute})
		if err != nil {
			b.Fatal(err)
		}
		b.equal("holder", b.server.holder(key), "me")
		b.equal("revokes", len(b.server.got("revoke")), 0)
		_ = h.Release(b.Context())
	})
}

func TestACampaignThatEndsInAPauseSaysWhy(t *testing.T) {
	within(t, func(b *bench) {
		why := errors.New("the program ends")
		ctx, cancel := context.WithCancelCause(b.Context())
		k := b.keeperOver(scripted{b.server, func(context.Context, interrex.ClaimRequest) (interrex.LeaseAnswer, error) {
			time.AfterFunc(time.Millisecond, func() { cancel(why) })
			return interrex.LeaseAnswer{}, interrex.Errorf(interrex.ErrHeld, "by ann")
		}})
		defer k.Close()
		_, err := k.Hold(ctx, key.String(), interrex.HoldOptions{TTL: ttl, Wait: -1})
		if !errors.Is(err, interrex.ErrHeld) || !errors.Is(err, why) {
			b.Errorf("got %v", err)
		}
	})
}

func TestOnlyWorkThatLastedBeginsItsNextCampaignSoon(t *testing.T) {
	// Whether it is the work or the wait for the lease that takes so long.
	for lasting, most := range map[bool]time.Duration{true: 100 * time.Millisecond, false: 5 * time.Second} {
		within(t, func(b *bench) {
			ctx, cancel := context.WithCancel(b.Context())
			var began, ended time.Duration
			var pause time.Duration
			runs := 0
			k := b.keeperOver(scripted{b.server, func(ctx context.Context, r interrex.ClaimRequest) (interrex.LeaseAnswer, error) {
				if r.Attempt == 0 {
					pause, began = b.clock.Now()-ended, b.clock.Now()
				}
				if r.Attempt == 0 && !lasting {
					b.server.take(key, 11*time.Second)
				}
				return b.server.Claim(ctx, r)
			}})
			defer k.Close()
			_ = k.Run(ctx, key.String(), interrex.HoldOptions{TTL: ttl}, func(context.Context, interrex.Held) error {
				if runs++; runs == 12 {
					cancel()
				}
				if lasting {
					time.Sleep(11 * time.Second)
				}
				ended = b.clock.Now()
				return nil
			})
			if pause < most/2 || pause > most || began == 0 {
				b.Errorf("lasting %v: the last campaign begins after %s, want %s to %s", lasting, pause, most/2, most)
			}
		})
	}
}

func TestOnlyHalfAMarginLaterIsLate(t *testing.T) {
	for after, late := range map[time.Duration]int64{margin / 4: 0, margin * 3 / 4: 1} {
		within(t, func(b *bench) {
			ctx, cancel := context.WithCancel(b.Context())
			_ = b.keeper.Run(ctx, key.String(), interrex.HoldOptions{TTL: ttl}, func(ctx context.Context, _ interrex.Held) error {
				b.cut("extend")
				<-ctx.Done()
				time.Sleep(after)
				cancel()
				return nil
			})
			b.equal(fmt.Sprintf("overstayed, %s after the context", after), b.late.Load(), late)
		})
	}
}

func TestACampaignThatEndsWithAReasonSaysTooThatItsLeaseIsNotReleased(t *testing.T) {
	within(t, func(b *bench) {
		reason := errors.New("the work is done")
		err := b.keeper.Run(b.Context(), key.String(), interrex.HoldOptions{TTL: ttl}, func(context.Context, interrex.Held) error {
			b.cut("revoke")
			return fmt.Errorf("%w: %w", reason, interrex.ErrStopCampaign)
		})
		if !errors.Is(err, reason) || !errors.Is(err, interrex.ErrOutcomeUnknown) {
			b.Errorf("got %v", err)
		}
	})
}
