package main

import (
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
)

func newList(a *app) *cobra.Command {
	var r interrex.ListRequest
	var eventual bool
	var at string
	c := &cobra.Command{
		Use:   "list [NAMESPACE|KEY]",
		Short: "List leases, in the order of their keys",
		Example: `  interrex lease list
  interrex lease list default/db                  one lease or none, as NAMESPACE/NAME
  interrex lease list mine --prefix nightly/
  interrex lease list --at 1200                   as they were at revision 1200
  interrex lease list --at $(date -ud '1 hour ago' +%FT%TZ)`,
		Args: atMostOne("NAMESPACE or KEY"),
		RunE: func(c *cobra.Command, args []string) error {
			var key interrex.Key
			var err error
			if r.Namespace, key, err = namespaceOrKey(args, r.Prefix); err != nil {
				return err
			}
			past, err := readAt(c, at, &r)
			if err != nil {
				return err
			}
			print := a.printLeases
			if past {
				print = a.printPast
			}
			r.Consistency = consistency(eventual)
			return a.with(c.Context(), a.timeout, func(ctx context.Context, s session) error {
				if key != (interrex.Key{}) {
					return a.listOne(ctx, s, key, r, print)
				}
				return a.list(ctx, s, r, print)
			})
		},
	}
	c.Flags().StringVar(&r.Prefix, "prefix", "", "only names with this prefix")
	atFlag(c, &at)
	readFlags(c, &r.ReadOptions, &eventual)
	return c
}

// printer prints leases, as they are or were at a revision.
type printer func([]interrex.Lease, interrex.Revision) error

// listOne prints a list with the lease of a key, if it is held. Of the names with
// that prefix it comes first.
func (a *app) listOne(ctx context.Context, s session, key interrex.Key, r interrex.ListRequest, print printer) error {
	r.Namespace, r.Prefix, r.PageSize = key.Namespace, key.Name, 1
	page, err := s.leases.List(ctx, r)
	if err != nil {
		return err
	}
	others := func(l interrex.Lease) bool { return l.Key != key }
	return print(slices.DeleteFunc(page.Items, others), page.Revision)
}

// list prints all pages as one list.
func (a *app) list(ctx context.Context, s session, r interrex.ListRequest, print printer) error {
	var all []interrex.Lease
	for {
		page, err := s.leases.List(ctx, r)
		if err != nil {
			return err
		}
		all = append(all, page.Items...)
		if page.NextPageToken == "" {
			return print(all, page.Revision)
		}
		r.PageToken = page.NextPageToken
		if !r.AtTime.IsZero() { // all pages are of the same revision
			r.AtTime, r.AtRevision = time.Time{}, page.Revision
		}
	}
}
