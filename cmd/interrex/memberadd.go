package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"
)

func newMemberAdd(a *app) *cobra.Command {
	var address string
	c := &cobra.Command{
		Use:   "add ID --address ADDR",
		Short: "Admit an agent that has a certificate already",
		Long: `Admits an agent that has a certificate already, as where the certificates of the
agents come from elsewhere. The agent then runs with cluster.join, the cluster address
of any member, and without bootstrap-expect. Like an agent that joins with a token, it
gets the data first, and a vote where that keeps the number of voters odd, up to 5.

A cluster that 'interrex agent init' has made lets agents in by 'interrex agent join'.`,
		Example:           `  interrex member add n4 --address 10.0.0.4:7401`,
		Args:              arguments(1, "ID"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, args []string) error {
			if address == "" {
				return usageError{errors.New("--address is missing: give the cluster address of the agent, HOST:PORT")}
			}
			return a.with(c.Context(), a.timeout, func(ctx context.Context, s session) error {
				at, err := s.client.Members().Add(ctx, args[0], address)
				if err != nil {
					return err
				}
				return a.done(map[string]any{"id": args[0], "revision": at.String()}, "member %s is admitted at revision %d", args[0], at)
			})
		},
	}
	c.Flags().StringVar(&address, "address", "", "its cluster address, HOST:PORT")
	return c
}
