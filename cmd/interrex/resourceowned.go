package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
)

func newResourceOwned(a *app) *cobra.Command {
	var t interrex.Tenancy
	var f consistencyFlags
	var uid string
	c := &cobra.Command{
		Use:   "owned TYPE NAME | ID",
		Short: "List what a resource owns, of any type",
		Example: `  interrex resource owned demo.v1.Rack r1
  interrex resource owned demo.v1.Rack r1 --uid 0A1B...      also after it was deleted`,
		Args: typeAndName,
		RunE: func(c *cobra.Command, args []string) error {
			owner, err := resourceID(args, t)
			if err != nil {
				return err
			}
			return a.resources(c, func(ctx context.Context, r interrex.Resources) error {
				if uid != "" {
					owner = withUID(owner, uid)
				} else {
					found, err := readAny(ctx, r, owner, f.read())
					if errors.Is(err, interrex.ErrNotFound) {
						err = fmt.Errorf("%w; for one that was deleted, give its --uid", err)
					}
					if err != nil {
						return err
					}
					owner = found.ID
				}
				q := interrex.ListOwnedRequest{Owner: owner, ReadOptions: f.read()}
				return a.listResources(&q.PageToken, func() (interrex.Page[interrex.Resource], error) { return r.ListByOwner(ctx, q) })
			})
		},
	}
	tenancyFlags(c, &t, "")
	c.Flags().Var((*nonEmpty)(&uid), "uid", "the owner's uid (default that of the owner that is there now)")
	f.flags(c, "eventual")
	return c
}
