package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
)

func newResourceList(a *app) *cobra.Command {
	var q interrex.ListResourcesRequest
	var f consistencyFlags
	c := &cobra.Command{
		Use:   "list TYPE",
		Short: "List resources of a kind, in every version, ordered by partition, namespace and name",
		Example: `  interrex resource list demo.v1.Server
  interrex resource list demo.v1.Server --namespace '*' --prefix web-`,
		Args: arguments(1, "TYPE"),
		RunE: func(c *cobra.Command, args []string) (err error) {
			if q.Type, err = interrex.ParseResourceType(args[0]); err != nil {
				return err
			}
			q.ReadOptions = f.read()
			return a.resources(c, func(ctx context.Context, r interrex.Resources) error {
				return a.listResources(&q.PageToken, func() (interrex.Page[interrex.Resource], error) { return r.List(ctx, q) })
			})
		},
	}
	tenancyFlags(c, &q.Tenancy, "; '*' for all")
	c.Flags().StringVar(&q.NamePrefix, "prefix", "", "only names with this prefix")
	f.flags(c, "eventual")
	return c
}
