package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
)

func newLease(a *app) *cobra.Command {
	c := group(&cobra.Command{
		Use:   "lease",
		Short: "Claim, keep and end leases",
		Example: `  interrex lease claim db --ttl 30s
  interrex lease extend db --lease-token 17
  interrex lease list
  interrex lease watch -o json`,
	})
	c.AddCommand(newClaim(a), newExtend(a), newRevoke(a), newTransfer(a), newPin(a), newUnpin(a),
		newGet(a), newList(a), newHistory(a), newWatch(a))
	return c
}

// tokenFlag is --lease-token, or the environment.
func tokenFlag(c *cobra.Command, text *string) {
	c.Flags().StringVar(text, "lease-token", "", "the lease's token (default $INTERREX_LEASE_TOKEN)")
}

func readToken(text string) (interrex.Token, error) {
	text = cmp.Or(text, os.Getenv("INTERREX_LEASE_TOKEN"))
	if text == "" {
		return 0, usageError{errors.New("--lease-token is missing, and $INTERREX_LEASE_TOKEN is not set: it is the number that the claim was answered with")}
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n == 0 {
		return 0, usageError{fmt.Errorf("--lease-token (or $INTERREX_LEASE_TOKEN): %q is not a token: a number above 0 is allowed", text)}
	}
	return interrex.Token(n), nil
}

// write runs one write whose answer is the lease.
func (a *app) write(ctx context.Context, do func(context.Context, interrex.Leases) (interrex.LeaseAnswer, error)) error {
	return a.with(ctx, a.timeout, func(ctx context.Context, s session) error {
		answer, err := do(ctx, s.leases)
		if err != nil {
			return err
		}
		return a.printLease(answer.Lease)
	})
}

func newExtend(a *app) *cobra.Command {
	var r interrex.ExtendRequest
	var token string
	c := &cobra.Command{
		Use:     "extend KEY",
		Short:   "Move a lease's expiry to now + ttl",
		Example: `  interrex lease extend db --lease-token 17 --ttl 1m`,
		Args:    arguments(1, "KEY"),
		RunE: func(c *cobra.Command, args []string) (err error) {
			if r.Key, err = interrex.ParseKey(args[0]); err != nil {
				return err
			}
			if r.Token, err = readToken(token); err != nil {
				return err
			}
			return a.write(c.Context(), func(ctx context.Context, l interrex.Leases) (interrex.LeaseAnswer, error) {
				answer, err := l.Extend(ctx, r)
				if errors.Is(err, interrex.ErrOutcomeUnknown) {
					err = fmt.Errorf("%w; repeat the command: an extend does no harm when it is done twice", err)
				}
				return answer, err
			})
		},
	}
	tokenFlag(c, &token)
	ttlFlag(c, &r.TTL, " (default the lease's own)")
	return c
}

func newTransfer(a *app) *cobra.Command {
	var r interrex.TransferRequest
	var token string
	c := &cobra.Command{
		Use:     "transfer KEY --to HOLDER",
		Short:   "Hand a lease to another holder under a new token",
		Example: `  interrex lease transfer db --lease-token 17 --to bob`,
		Args:    arguments(1, "KEY"),
		RunE: func(c *cobra.Command, args []string) (err error) {
			if r.Key, err = interrex.ParseKey(args[0]); err != nil {
				return err
			}
			if r.Token, err = readToken(token); err != nil {
				return err
			}
			if r.To == "" {
				return usageError{errors.New("--to is missing: name the new holder")}
			}
			return a.write(c.Context(), func(ctx context.Context, l interrex.Leases) (interrex.LeaseAnswer, error) {
				return l.Transfer(ctx, r)
			})
		},
	}
	tokenFlag(c, &token)
	a.requestIDFlag(c)
	c.Flags().StringVar(&r.To, "to", "", "the new holder")
	ttlFlag(c, &r.TTL, " (default the lease's own)")
	return c
}
