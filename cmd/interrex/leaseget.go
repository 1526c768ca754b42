package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
)

func newGet(a *app) *cobra.Command {
	var o interrex.ReadOptions
	var eventual bool
	c := &cobra.Command{
		Use:     "get KEY",
		Short:   "Show a lease",
		Example: `  interrex lease get db -o json`,
		Args:    arguments(1, "KEY"),
		RunE: func(c *cobra.Command, args []string) error {
			key, err := interrex.ParseKey(args[0])
			if err != nil {
				return err
			}
			o.Consistency = consistency(eventual)
			return a.with(c.Context(), a.timeout, func(ctx context.Context, s session) error {
				l, _, err := s.leases.Get(ctx, key, o)
				if err != nil {
					return err
				}
				return a.printLease(l)
			})
		},
	}
	readFlags(c, &o, &eventual)
	return c
}
