package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
)

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
				return usageError{errors.New("--to is missing: give the name of the new holder")}
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
