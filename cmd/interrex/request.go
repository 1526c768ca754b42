package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/wire"
)

func newRequest(a *app) *cobra.Command {
	c := group(&cobra.Command{
		Use:   "request",
		Short: "Show and drop what is kept for the request ids of callers",
		Long: `Shows and drops what the cluster keeps so that a repeated request is not done twice:
names of request ids, which clients open, and records. There are limits, in number and
bytes ('interrex settings get'): the caller that has most loses what it has not used for
longest. Callers without a name are told apart by the address that they come from.
Only operators may do this.`,
		Example: `  interrex request list
  interrex request drop --address 10.0.0.7`,
	})
	c.AddCommand(newRequestList(a), newRequestDrop(a))
	return c
}

// requestShares calls each for what is kept for every caller, and returns the last
// page.
func requestShares(ctx context.Context, s session, o interrex.ReadOptions, each func(*interrexv1.RequestShare)) (*interrexv1.ListRequestsResponse, error) {
	q := &interrexv1.ListRequestsRequest{Consistency: wire.Consistency(o.Consistency), MinRevision: uint64(o.MinRevision)}
	for {
		m, err := client.Call[interrexv1.ListRequestsRequest, interrexv1.ListRequestsResponse](ctx, s.client, interrexv1.StateServiceListRequestsProcedure, q, client.Options{})
		if err != nil {
			return nil, err
		}
		for _, item := range m.GetItems() {
			each(item)
		}
		if q.PageToken = m.GetNextPageToken(); q.PageToken == "" {
			return m, nil
		}
	}
}
