package main

import (
	"cmp"
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/gen/interrexv1"
)

func newRequestDrop(a *app) *cobra.Command {
	var address string
	c := &cobra.Command{
		Use:   "drop (CALLER | --address ADDRESS)",
		Short: "Drop all names and records of request ids of a caller",
		Long: `Drops all names and records of request ids of one caller, as 'interrex request list'
shows it. Its clients go on under other names.

A request that is under way may end as 'outcome unknown'. So may one of any caller
whose id has no name, such as one of this command line, if its first attempt fails
within the next 10 minutes (the setting requests.record-age).`,
		Example: `  interrex request drop ann
  interrex request drop --address 10.0.0.7`,
		Args:              atMostOne("CALLER"),
		ValidArgsFunction: a.completeFirst(requestCallers),
		RunE: func(c *cobra.Command, args []string) error {
			caller := strings.Join(args, "")
			if (caller == "") == (address == "") {
				return usageError{errors.New("give a CALLER, or --address ADDRESS")}
			}
			return a.with(c.Context(), a.timeout, func(ctx context.Context, s session) error {
				m, err := client.Call[interrexv1.DropRequestsRequest, interrexv1.DropRequestsResponse](ctx, s.client, interrexv1.StateServiceDropRequestsProcedure,
					&interrexv1.DropRequestsRequest{Caller: caller, Address: address}, client.Options{})
				if err != nil {
					return err
				}
				return a.done(map[string]any{"caller": caller, "address": address, "revision": interrex.Revision(m.GetRevision()).String()}, "dropped what was kept for %s", cmp.Or(caller, address))
			})
		},
	}
	c.Flags().StringVar(&address, "address", "", "of callers without a name: the address that they come from")
	return c
}

// requestCallers returns the callers for completion.
func requestCallers(ctx context.Context, s session) (names []string, err error) {
	_, err = requestShares(ctx, s, interrex.ReadOptions{Consistency: interrex.Eventual}, func(one *interrexv1.RequestShare) {
		if one.GetCaller() != "" {
			names = append(names, one.GetCaller())
		}
	})
	return names, err
}
