package main

import (
	"cmp"
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/wire"
)

func newDiff(a *app) *cobra.Command {
	var from, to interrex.Revision
	var r interrex.ListRequest
	c := &cobra.Command{
		Use:   "diff FROM [TO]",
		Short: "List the keys whose leases differ between two revisions",
		Long: `Lists the keys whose lease at revision FROM is not that at revision TO (default: now):
one was granted, has ended, or was followed by another. A lease that was only extended
or pinned is the same. Revisions are kept as changes are, by the settings changes.keep-*.`,
		Example: `  interrex lease diff 1200 1350
  interrex lease diff 1200 --namespace mine --prefix nightly/
  interrex lease diff $(interrex lease list --at 2026-01-31T12:00:00Z -o json | jq -r .revision)`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 1 || len(args) == 2 {
				return nil
			}
			return arguments(1, "a revision and at most one later one")(c, args)
		},
		RunE: func(c *cobra.Command, args []string) (err error) {
			for i, at := range []*interrex.Revision{&from, &to}[:len(args)] {
				if *at, err = revisionOf(args[i]); err != nil {
					return err
				}
			}
			return a.with(c.Context(), a.timeout, func(ctx context.Context, s session) error { return a.diff(ctx, s, from, to, r) })
		},
	}
	c.Flags().StringVar(&r.Namespace, "namespace", "", "only leases of this namespace")
	c.Flags().StringVar(&r.Prefix, "prefix", "", "only names with this prefix")
	return c
}

// revisionOf reads a revision from the command line.
func revisionOf(text string) (interrex.Revision, error) {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n == 0 {
		return 0, usageError{fmt.Errorf("%q is not a revision: give a number from 1", text)}
	}
	return interrex.Revision(n), nil
}

// diff prints all pages as one list.
func (a *app) diff(ctx context.Context, s session, from, to interrex.Revision, r interrex.ListRequest) error {
	t := table{header: []string{"KEY", "BEFORE", "TOKEN", "AFTER", "TOKEN"}}
	var list listing
	var names []string
	for {
		page, err := s.leases.Diff(ctx, from, to, r)
		if err != nil {
			return err
		}
		for _, d := range page.Items {
			list.items = append(list.items, wire.LeaseDifference(d))
			names = append(names, d.Key.String())
			before, after := cmp.Or(d.Before, &interrex.Lease{Holder: "-"}), cmp.Or(d.After, &interrex.Lease{Holder: "-"})
			t.rows = append(t.rows, []string{d.Key.String(), before.Holder, tokenOrNone(before.Token), after.Holder, tokenOrNone(after.Token)})
		}
		list.revision = page.Revision
		if r.PageToken, to = page.NextPageToken, page.Revision; r.PageToken == "" {
			return a.print(list, t, names...)
		}
	}
}

func tokenOrNone(t interrex.Token) string {
	if t == 0 {
		return "-"
	}
	return t.String()
}
