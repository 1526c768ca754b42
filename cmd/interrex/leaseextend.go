package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
)

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
					err = fmt.Errorf("%w; repeat the command: extending twice is harmless", err)
				}
				return answer, err
			})
		},
	}
	tokenFlag(c, &token)
	ttlFlag(c, &r.TTL, " (default the lease's own)")
	return c
}
