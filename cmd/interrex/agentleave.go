package main

import (
	"context"

	"github.com/spf13/cobra"
)

func newLeave(a *app) *cobra.Command {
	purge := false
	c := &cobra.Command{
		Use:   "leave",
		Short: "Take an agent out of its cluster, and stop it",
		Long: `The agent hands leadership over, releases its own leases, has itself removed from the
cluster, waits until that is committed, and stops. It does not come back with the data
that it has: see 'interrex member remove'. --purge deletes that data, raft's, and
nothing else in its directory.

The last voter does not leave, nor does one without which the others would be no
quorum. When it takes longer than --timeout, the agent goes on, and may leave again.

` + operatorLong,
		Example: `  interrex agent leave --addr unix:///var/lib/interrex/interrex.sock --purge`,
		Args:    arguments(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.within(c.Context(), a.timeout, probeDrain, func(ctx context.Context, s session) error {
				if err := s.client.Leave(ctx, purge); err != nil {
					return err
				}
				a.say("it has left the cluster; the process is about to end")
				return nil
			})
		},
	}
	c.Flags().BoolVar(&purge, "purge", false, "delete raft's data in the agent's directory")
	return c
}
