package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
)

func newResourceDelete(a *app) *cobra.Command {
	var q interrex.DeleteResourceRequest
	var t interrex.Tenancy
	c := &cobra.Command{
		Use:   "delete TYPE NAME | ID",
		Short: "Delete a resource; a missing one is not an error",
		Example: `  interrex resource delete demo.v1.Server web
  interrex resource delete demo.v1.Server web --version 17     only this version`,
		Args: typeAndName,
		RunE: func(c *cobra.Command, args []string) (err error) {
			uid := q.ID.UID
			if q.ID, err = resourceID(args, t); err != nil {
				return err
			}
			q.ID = withUID(q.ID, uid)
			return a.resources(c, func(ctx context.Context, r interrex.Resources) error {
				answer, err := r.Delete(ctx, q)
				if err != nil {
					return err
				}
				document := struct {
					Replayed bool              `json:"replayed"`
					Revision interrex.Revision `json:"revision,string"`
				}{answer.Replayed, answer.Revision}
				return a.print(document, table{
					header: []string{"RESOURCE", "REVISION"},
					rows:   [][]string{{q.ID.String(), answer.Revision.String()}},
				}, q.ID.Name)
			})
		},
	}
	tenancyFlags(c, &t, "")
	c.Flags().Var((*nonEmpty)(&q.Version), "version", "only this version (default any)")
	c.Flags().Var((*nonEmpty)(&q.ID.UID), "uid", "only the one with this uid (default any)")
	a.requestIDFlag(c)
	return c
}
