package hold_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/hold"
)

func TestAHoldWhoseContextHasEndedSaysThatNothingHappened(t *testing.T) {
	within(t, func(b *bench) {
		ctx, cancel := context.WithCancelCause(b.Context())
		why := errors.New("the program ends")
		cancel(why)
		for _, wait := range []time.Duration{0, time.Minute, -1} {
			_, err := b.keeper.Hold(ctx, key.String(), interrex.HoldOptions{TTL: ttl, Wait: wait})
			if !errors.Is(err, interrex.ErrTimeout) || !errors.Is(err, context.Canceled) || !errors.Is(err, why) {
				b.Errorf("wait %s: got %v", wait, err)
			}
		}
		b.equal("claims", len(b.server.got("claim")), 0)
	})
}

// bounded makes a keeper whose claims that do not wait have a second.
func (b *bench) bounded() *hold.Keeper {
	b.Helper()
	k, err := hold.New(hold.Config{Backend: b.server, Clock: b.clock, Holder: "me", Timeout: time.Second})
	if err != nil {
		b.Fatal(err)
	}
	return k
}

func (s *server) refuse(kinds ...interrex.Kind) {
	s.set(func(s *server) {
		s.fault = func(c call) error {
			return interrex.Errorf(kinds[min(int(c.attempt), len(kinds)-1)], "attempt %d", c.attempt)
		}
	})
}

func TestAClaimThatDoesNotWaitIsBoundedWhateverItsTTL(t *testing.T) {
	within(t, func(b *bench) {
		k := b.bounded()
		defer k.Close()
		for _, answered := range []bool{true, false} {
			b.server.refuse(interrex.ErrNoLeader)
			want := error(interrex.ErrNoLeader)
			if !answered {
				b.server.set(func(s *server) { s.fault, s.deaf = nil, func(call) bool { return true } })
				want = interrex.ErrOutcomeUnknown
			}
			began := b.clock.Now()
			_, err := k.Hold(b.Context(), key.String(), interrex.HoldOptions{TTL: interrex.MaxTTL})
			if !errors.Is(err, want) {
				b.Errorf("got %v, want %v", err, want)
			}
			if took := b.clock.Now() - began; took > time.Second {
				b.Errorf("it took %s", took)
			}
		}
	})
}

// A ttl bounds how long one claim is of use, not how long an agent is looked for.
func TestAClaimThatDoesNotWaitTriesAsLongAsItMay(t *testing.T) {
	within(t, func(b *bench) {
		const back = hold.DefaultTimeout * 9 / 10
		b.server.set(func(s *server) {
			s.fault = func(c call) error {
				if c.at < back {
					return interrex.Errorf(interrex.ErrUnavailable, "nobody is there")
				}
				return nil
			}
		})
		b.hold(0)
		if took := b.clock.Now(); took < back || took > hold.DefaultTimeout {
			b.Errorf("it took %s", took)
		}
	})
}

func TestAClaimThatDoesNotWaitKeepsWhatAnAgentSaid(t *testing.T) {
	within(t, func(b *bench) {
		asked := false
		b.server.set(func(s *server) {
			s.fault = func(call) error {
				if !asked {
					asked = true
					return interrex.Errorf(interrex.ErrNoLeader, "two of three are away")
				}
				return interrex.Errorf(interrex.ErrUnavailable, "nobody is there")
			}
		})
		if _, err := b.keeper.Hold(b.Context(), key.String(), interrex.HoldOptions{TTL: ttl}); !errors.Is(err, interrex.ErrNoLeader) {
			b.Errorf("got %v", err)
		}
	})
}

func TestAWaitThatNobodyCanGrantEndsWhenItRunsOut(t *testing.T) {
	within(t, func(b *bench) {
		b.server.refuse(interrex.ErrNoLeader)
		_, err := b.keeper.Hold(b.Context(), key.String(), interrex.HoldOptions{TTL: ttl, Wait: 2 * time.Second})
		if !errors.Is(err, interrex.ErrNoLeader) {
			b.Errorf("got %v", err)
		}
		if took := b.clock.Now(); took > 2*time.Second {
			b.Errorf("it took %s", took)
		}
	})
}

func TestWhatAnAgentSaidBeatsThatNobodyCouldBeAsked(t *testing.T) {
	within(t, func(b *bench) {
		b.server.refuse(interrex.ErrUnavailable, interrex.ErrNoLeader, interrex.ErrUnavailable)
		_, err := b.keeper.Hold(b.Context(), key.String(), interrex.HoldOptions{TTL: ttl, Wait: time.Second})
		if !errors.Is(err, interrex.ErrNoLeader) {
			b.Errorf("got %v", err)
		}
	})
}

func TestALeaseGrantedToACallerWhoHasGoneIsGivenBack(t *testing.T) {
	within(t, func(b *bench) {
		b.server.set(func(s *server) { s.deaf = func(c call) bool { return c.op == "claim" && c.attempt == 0 } })
		ctx, cancel := context.WithCancel(b.Context())
		time.AfterFunc(ttl/20, cancel)
		_, err := b.keeper.Hold(ctx, key.String(), interrex.HoldOptions{TTL: ttl, Wait: -1})
		if !errors.Is(err, interrex.ErrOutcomeUnknown) || !errors.Is(err, context.Canceled) {
			b.Errorf("got %v", err)
		}
		claims := b.server.got("claim")
		b.equal("request id of the last claim", claims[len(claims)-1].id, claims[0].id)
		b.equal("revokes", len(b.server.got("revoke")), 1)
		b.equal("holder", b.server.holder(key), "")
	})
}

func TestARefusalAtTheDoorSaysNothingAboutAnEarlierAttempt(t *testing.T) {
	for _, c := range []struct {
		kinds []interrex.Kind
		want  error
	}{
		{[]interrex.Kind{interrex.ErrOutcomeUnknown, interrex.ErrDisabled}, interrex.ErrOutcomeUnknown},
		{[]interrex.Kind{interrex.ErrNoLeader, interrex.ErrDisabled}, interrex.ErrDisabled},
		{[]interrex.Kind{interrex.ErrDisabled}, interrex.ErrDisabled},
		{[]interrex.Kind{interrex.ErrOutcomeUnknown, interrex.ErrUnauthenticated}, interrex.ErrOutcomeUnknown},
		{[]interrex.Kind{interrex.ErrOutcomeUnknown, interrex.ErrDenied}, interrex.ErrOutcomeUnknown},
		{[]interrex.Kind{interrex.ErrNoLeader, interrex.ErrUnauthenticated}, interrex.ErrUnauthenticated},
		{[]interrex.Kind{interrex.ErrDenied}, interrex.ErrDenied},
	} {
		within(t, func(b *bench) {
			b.server.refuse(c.kinds...)
			if _, err := b.keeper.Hold(b.Context(), key.String(), interrex.HoldOptions{TTL: ttl}); !errors.Is(err, c.want) {
				b.Errorf("after %v: got %v, want %v", c.kinds, err, c.want)
			}
		})
	}
}
