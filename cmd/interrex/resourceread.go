package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
)

func newResourceRead(a *app) *cobra.Command {
	var t interrex.Tenancy
	var f consistencyFlags
	c := &cobra.Command{
		Use:   "read TYPE NAME | ID",
		Short: "Show a resource",
		Example: `  interrex resource read demo.v1.Server web
  interrex resource read demo.v1.Server web -o yaml > web.yaml
  interrex resource read demo.Server/default/default/web     in any version`,
		Args: typeAndName,
		RunE: func(c *cobra.Command, args []string) error {
			id, err := resourceID(args, t)
			if err != nil {
				return err
			}
			return a.resources(c, func(ctx context.Context, r interrex.Resources) error {
				found, err := readAny(ctx, r, id, f.read())
				if err != nil {
					return err
				}
				return a.printResource(found)
			})
		},
	}
	tenancyFlags(c, &t, "")
	f.flags(c, "strong")
	return c
}
