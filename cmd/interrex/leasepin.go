package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
)

// longestPin is the longest --for, ten years: who wants more leaves it out.
const longestPin = 10 * 365 * 24 * time.Hour

func newPin(a *app) *cobra.Command {
	var r interrex.PinRequest
	c := &cobra.Command{
		Use:     "pin KEY --owner OWNER --reason REASON",
		Short:   "Keep a lease from ending by time",
		Example: `  interrex lease pin db --owner ann --reason "rack move" --for 1h`,
		Args:    arguments(1, "KEY"),
		RunE: func(c *cobra.Command, args []string) (err error) {
			if r.Key, err = interrex.ParseKey(args[0]); err != nil {
				return err
			}
			if r.Owner == "" {
				return usageError{errors.New("--owner is missing: name whose pin it is")}
			}
			return a.write(c.Context(), func(ctx context.Context, l interrex.Leases) (interrex.LeaseAnswer, error) {
				return l.Pin(ctx, r)
			})
		},
	}
	a.requestIDFlag(c)
	c.Flags().StringVar(&r.Owner, "owner", "", "who pins it")
	c.Flags().StringVar(&r.Reason, "reason", "", "why")
	c.Flags().Var(&duration{to: &r.For, least: time.Millisecond, most: longestPin}, "for", "the pin lifts itself then (default: its owner lifts it)")
	return c
}
