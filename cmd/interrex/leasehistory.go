package main

import (
	"cmp"
	"context"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/wire"
)

func newHistory(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "history KEY",
		Short:   "Show who held a lease, under which tokens, and how each ended",
		Example: `  interrex lease history db`,
		Args:    arguments(1, "KEY"),
		RunE: func(c *cobra.Command, args []string) error {
			key, err := interrex.ParseKey(args[0])
			if err != nil {
				return err
			}
			return a.with(c.Context(), a.timeout, func(ctx context.Context, s session) error {
				items, revision, err := s.leases.History(ctx, key)
				if err != nil {
					return err
				}
				return a.printHistory(items, revision)
			})
		},
	}
}

func (a *app) printHistory(items []interrex.PastLease, revision interrex.Revision) error {
	list := listing{revision: revision}
	t := table{header: []string{"HOLDER", "TOKEN", "ACQUIRED", "ENDED", "HOW"}}
	var tokens []string
	for _, p := range items {
		list.items = append(list.items, wire.PastLease(p))
		t.rows = append(t.rows, []string{p.Holder, p.Token.String(), stamp(p.AcquiredAt), stamp(p.EndedAt), cmp.Or(string(p.How), "held")})
		tokens = append(tokens, p.Token.String())
	}
	return a.print(list, t, tokens...)
}
