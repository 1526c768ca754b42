package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
)

func newGet(a *app) *cobra.Command {
	var o interrex.ReadOptions
	var eventual bool
	var at string
	c := &cobra.Command{
		Use:   "get KEY",
		Short: "Show a lease",
		Example: `  interrex lease get db -o json
  interrex lease get db --at 2026-01-31T12:00:00Z   who held it then`,
		Args: arguments(1, "KEY"),
		RunE: func(c *cobra.Command, args []string) error {
			key, err := interrex.ParseKey(args[0])
			if err != nil {
				return err
			}
			o.Consistency = consistency(eventual)
			then := interrex.ListRequest{Key: key, ReadOptions: o}
			if past, err := readAt(c, at, &then); err != nil {
				return err
			} else if past {
				return a.with(c.Context(), a.timeout, func(ctx context.Context, s session) error { return a.getAt(ctx, s, then) })
			}
			return a.with(c.Context(), a.timeout, func(ctx context.Context, s session) error {
				l, _, err := s.leases.Get(ctx, key, o)
				if err != nil {
					return err
				}
				return a.printLease(l)
			})
		},
	}
	atFlag(c, &at)
	readFlags(c, &o, &eventual)
	return c
}

// getAt prints a lease as it was.
func (a *app) getAt(ctx context.Context, s session, r interrex.ListRequest) error {
	page, err := s.leases.List(ctx, r)
	if err != nil {
		return err
	}
	return a.printOne(page.Items[0], pastTable(page.Items))
}
