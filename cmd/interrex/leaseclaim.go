package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/hold"
)

func newClaim(a *app) *cobra.Command {
	r := interrex.ClaimRequest{TTL: interrex.DefaultTTL}
	var meta []string
	var keep bool
	c := &cobra.Command{
		Use:   "claim KEY",
		Short: "Claim a lease; with --keep, hold it until interrupted",
		Example: `  interrex lease claim db --ttl 30s --meta address=10.0.0.7
  interrex lease claim db --wait 1m
  interrex lease claim db --keep`,
		Args: arguments(1, "KEY"),
		RunE: func(c *cobra.Command, args []string) (err error) {
			if r.Key, err = interrex.ParseKey(args[0]); err != nil {
				return err
			}
			if r.Metadata, err = metadata(meta); err != nil {
				return err
			}
			if r.Holder == "" {
				r.Holder = hold.DefaultHolder()
				a.repeatWith = "--holder " + r.Holder + " "
			}
			if keep && a.requestID != "" {
				return usageError{errors.New("--request-id repeats a single claim: leave --keep out")}
			}
			if keep {
				return a.keep(c.Context(), r)
			}
			return a.claim(c.Context(), r)
		},
	}
	flags := c.Flags()
	flags.StringVar(&r.Holder, "holder", "", "the holder's name (default $INTERREX_HOLDER, else HOST/PID/RANDOM)")
	ttlFlag(c, &r.TTL, "")
	flags.Var(&duration{to: &r.Wait, most: interrex.MaxWait}, "wait", "how long to wait if the lease is held, at most 1h (default: do not wait)")
	flags.BoolVar(&r.Takeover, "takeover", false, "re-issue a lease of the same holder under a new token; only if its predecessor has stopped")
	flags.StringArrayVar(&meta, "meta", nil, "metadata as k=v, such as the holder's address; may be repeated")
	a.requestIDFlag(c)
	flags.BoolVar(&keep, "keep", false, "keep extending the lease, and release it on INT or TERM; exit 4 if it is lost")
	return c
}

// metadata reads k=v pairs.
func metadata(pairs []string) (map[string]string, error) {
	if len(pairs) == 0 {
		return nil, nil
	}
	m := make(map[string]string, len(pairs))
	for _, pair := range pairs {
		k, v, found := strings.Cut(pair, "=")
		if !found || k == "" {
			return nil, usageError{fmt.Errorf("--meta: %q is not valid: give k=v", pair)}
		}
		m[k] = v
	}
	return m, nil
}

func (a *app) claim(ctx context.Context, r interrex.ClaimRequest) error {
	return a.within(ctx, a.timeout+r.Wait, probeOf(r), func(ctx context.Context, s session) error {
		answer, err := s.leases.Claim(ctx, r)
		if err != nil {
			return err
		}
		return a.printLease(answer.Lease)
	})
}

// probeOf returns what a claim waits for.
func probeOf(r interrex.ClaimRequest) probe {
	if r.Wait > 0 {
		return probeLease(r.Key)
	}
	return probeAgents
}

// keep holds the lease until it is interrupted.
func (a *app) keep(ctx context.Context, r interrex.ClaimRequest) error {
	return a.withLong(ctx, func(s session) error {
		held, err := a.hold(ctx, s, r)
		if err != nil {
			return err
		}
		if err := a.showHeld(ctx, s, held); err != nil {
			a.say("interrex: the lease %s is held under token %s, but reading it failed: %v", held.Key(), held.Token(), err)
		}
		<-held.Context().Done()
		if ctx.Err() == nil {
			cause := context.Cause(held.Context())
			if interrex.KindOf(cause) == interrex.ErrNotHeld {
				return cause // it names the lease
			}
			return interrex.Errorf(interrex.ErrNotHeld, "lease %s is lost: %v", held.Key(), cause).WithCause(cause)
		}
		release, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.timeout)
		defer cancel()
		return held.Release(release)
	})
}

func (a *app) hold(ctx context.Context, s session, r interrex.ClaimRequest) (interrex.Held, error) {
	defer s.sayWaiting(ctx, probeOf(r))()
	held, err := s.leases.Hold(ctx, r.Key.String(), interrex.HoldOptions{
		TTL: r.TTL, Holder: r.Holder, Metadata: r.Metadata, Wait: r.Wait, Takeover: r.Takeover,
	})
	return held, a.interrupted(ctx, err)
}

func (a *app) showHeld(ctx context.Context, s session, held interrex.Held) error {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	l, _, err := s.leases.Get(ctx, held.Key(), interrex.ReadOptions{})
	if err != nil {
		return err
	}
	return a.printLease(l)
}
