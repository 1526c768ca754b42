package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
)

// longestPin is the longest --for, ten years; without --for a pin has no end.
const longestPin = 10 * 365 * 24 * time.Hour

func newPin(a *app) *cobra.Command {
	var r interrex.PinRequest
	c := &cobra.Command{
		Use:     "pin KEY --owner OWNER --reason REASON",
		Short:   "Keep a lease from expiring",
		Example: `  interrex lease pin db --owner ann --reason "rack move" --for 1h`,
		Args:    arguments(1, "KEY"),
		RunE: func(c *cobra.Command, args []string) (err error) {
			if r.Key, err = interrex.ParseKey(args[0]); err != nil {
				return err
			}
			if r.Owner == "" {
				return usageError{errors.New("--owner is missing: give the name of the pin's owner")}
			}
			return a.write(c.Context(), func(ctx context.Context, l interrex.Leases) (interrex.LeaseAnswer, error) {
				return l.Pin(ctx, r)
			})
		},
	}
	a.requestIDFlag(c)
	c.Flags().StringVar(&r.Owner, "owner", "", "the owner of the pin")
	c.Flags().StringVar(&r.Reason, "reason", "", "why the lease is pinned")
	c.Flags().Var(&duration{to: &r.For, least: time.Millisecond, most: longestPin}, "for", "lift the pin after this time (default: only its owner lifts it)")
	return c
}
