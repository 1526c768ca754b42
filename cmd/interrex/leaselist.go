package main

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
)

func newList(a *app) *cobra.Command {
	var r interrex.ListRequest
	var eventual bool
	c := &cobra.Command{
		Use:   "list [NAMESPACE|KEY]",
		Short: "List leases, in the order of their keys",
		Example: `  interrex lease list
  interrex lease list default/db                  one lease or none, as NAMESPACE/NAME
  interrex lease list mine --prefix nightly/`,
		Args: atMostOne("NAMESPACE or KEY"),
		RunE: func(c *cobra.Command, args []string) error {
			var key interrex.Key
			var err error
			if r.Namespace, key, err = namespaceOrKey(args, r.Prefix); err != nil {
				return err
			}
			r.Consistency = consistency(eventual)
			return a.with(c.Context(), a.timeout, func(ctx context.Context, s session) error {
				if key != (interrex.Key{}) {
					return a.listOne(ctx, s, key, r)
				}
				return a.list(ctx, s, r)
			})
		},
	}
	c.Flags().StringVar(&r.Prefix, "prefix", "", "only names with this prefix")
	readFlags(c, &r.ReadOptions, &eventual)
	return c
}

// listOne prints a list with the lease of a key, if it is held. Of the names with
// that prefix it comes first.
func (a *app) listOne(ctx context.Context, s session, key interrex.Key, r interrex.ListRequest) error {
	r.Namespace, r.Prefix, r.PageSize = key.Namespace, key.Name, 1
	page, err := s.leases.List(ctx, r)
	if err != nil {
		return err
	}
	others := func(l interrex.Lease) bool { return l.Key != key }
	return a.printLeases(slices.DeleteFunc(page.Items, others), page.Revision)
}

// list prints all pages as one list.
func (a *app) list(ctx context.Context, s session, r interrex.ListRequest) error {
	var all []interrex.Lease
	for {
		page, err := s.leases.List(ctx, r)
		if err != nil {
			return err
		}
		all = append(all, page.Items...)
		if page.NextPageToken == "" {
			return a.printLeases(all, page.Revision)
		}
		r.PageToken = page.NextPageToken
	}
}
