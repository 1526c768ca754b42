package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/limits"
)

func newChangeList(a *app) *cobra.Command {
	var r interrex.ListChangesRequest
	var limit uint16
	c := &cobra.Command{
		Use:   "list",
		Short: "List changes, in order",
		Example: `  interrex change list --tag deploy
  interrex change list --since 120 --limit 10 -o json
  interrex change list --since 120 --kind user --block 1m     waits for the next one`,
		Args: arguments(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			r.Limit = int(limit)
			return a.changes(c, r.Block, func(ctx context.Context, changes interrex.Changes) error {
				p, err := changes.List(ctx, r)
				if err != nil {
					return err
				}
				list := listing{revision: p.Revision}
				t := table{header: changeHeader}
				var names []string
				for _, one := range p.Items {
					list.items = append(list.items, documentOfChange(one))
					t.rows = append(t.rows, changeRow(one))
					names = append(names, one.Revision.String())
				}
				if !p.AtEnd {
					a.say("more follow: list --since %d", p.Items[len(p.Items)-1].Revision)
				}
				return a.print(list, t, names...)
			})
		},
	}
	filterFlags(c, &r.ChangeFilter)
	c.Flags().Uint64Var((*uint64)(&r.Since), "since", 0, "after this revision (default: from the oldest that is kept)")
	c.Flags().Uint16Var(&limit, "limit", 0, "maximum number of changes, up to 1000 (default 100)")
	c.Flags().Var(&duration{to: &r.Block, least: time.Millisecond, most: limits.MaxBlock}, "block", "how long to wait for the first change if there is none yet (default: do not wait)")
	return c
}
