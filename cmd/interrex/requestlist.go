package main

import (
	"cmp"
	"context"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/wording"
)

func newRequestList(a *app) *cobra.Command {
	var eventual bool
	var o interrex.ReadOptions
	c := &cobra.Command{
		Use:   "list",
		Short: "Show how many names and records of request ids each caller has",
		Long: `Shows how many names and records of request ids each caller has.

  CALLER         the name of its access token or certificate; without one, ADDRESS is
                 where it comes from
  NAMES          the names of its programs' request ids; RECORDS are the responses that
                 are kept under them, BYTES what both take
  LONGEST IDLE   the time since the last write under the name that was used least
                 recently
  OTHER RECORDS  the responses that are kept for request ids without a name, such as
                 those of this command line; OTHER BYTES is what they take`,
		Example: `  interrex request list
  interrex request list -q          only callers and addresses`,
		Args: arguments(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			o.Consistency = consistency(eventual)
			return a.with(c.Context(), a.timeout, func(ctx context.Context, s session) error { return a.listRequests(ctx, s, o) })
		},
	}
	readFlags(c, &o, &eventual)
	return c
}

func (a *app) listRequests(ctx context.Context, s session, o interrex.ReadOptions) error {
	t := table{header: []string{"CALLER", "ADDRESS", "NAMES", "RECORDS", "BYTES", "LONGEST IDLE", "OTHER RECORDS", "OTHER BYTES"}}
	page := listing{}
	var users []string
	last, err := requestShares(ctx, s, o, func(one *interrexv1.RequestShare) {
		idle := ""
		if one.LongestIdle != nil {
			idle = wording.Rounded(one.GetLongestIdle().AsDuration())
		}
		t.rows = append(t.rows, []string{
			one.GetCaller(), one.GetAddress(), number(one.GetNames()), number(one.GetNameRecords()), number(one.GetNameBytes()),
			idle, number(one.GetRecords()), number(one.GetRecordBytes()),
		})
		page.items = append(page.items, one)
		users = append(users, cmp.Or(one.GetCaller(), one.GetAddress()))
	})
	if err != nil {
		return err
	}
	page.revision = interrex.Revision(last.GetRevision())
	return a.print(page, t, users...)
}
