package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
)

func newUnpin(a *app) *cobra.Command {
	var r interrex.PinRequest
	c := &cobra.Command{
		Use:     "unpin KEY --owner OWNER",
		Short:   "Lift a pin",
		Example: `  interrex lease unpin db --owner ann`,
		Args:    arguments(1, "KEY"),
		RunE: func(c *cobra.Command, args []string) (err error) {
			if r.Key, err = interrex.ParseKey(args[0]); err != nil {
				return err
			}
			if r.Owner == "" {
				return usageError{errors.New("--owner is missing: give the name of the pin's owner")}
			}
			return a.with(c.Context(), a.timeout, func(ctx context.Context, s session) error { return a.unpin(ctx, s, r) })
		},
	}
	a.requestIDFlag(c)
	c.Flags().StringVar(&r.Owner, "owner", "", "the owner of the pin")
	return c
}

func (a *app) unpin(ctx context.Context, s session, r interrex.PinRequest) error {
	answer, err := s.leases.Unpin(ctx, r)
	if err != nil {
		return err
	}
	if answer.Lease.Token == 0 {
		a.say("the lease %s was overdue and has ended with its last pin", r.Key)
		return nil
	}
	return a.printLease(answer.Lease)
}
