package main

import (
	"context"

	"github.com/spf13/cobra"
)

func newMemberPromote(a *app) *cobra.Command {
	return a.voterCommand(&cobra.Command{
		Use:   "promote ID",
		Short: "Let a member have a vote",
		Long: `Lets a member have a vote again. The leader gives it one once it has caught up,
where that keeps the number of voters odd, up to 5.`,
		Example: `  interrex member promote n4`,
	}, true, "member %s may have a vote, as of revision %d")
}

func newMemberDemote(a *app) *cobra.Command {
	return a.voterCommand(&cobra.Command{
		Use:   "demote ID",
		Short: "Take a member's vote",
		Long: `Takes a member's vote. It keeps its place in the cluster and its data. A leader
hands over first. While the others would be no quorum without it, it keeps its vote.`,
		Example: `  interrex member demote n3`,
	}, false, "member %s is to have no vote, as of revision %d")
}

func (a *app) voterCommand(c *cobra.Command, voter bool, done string) *cobra.Command {
	c.Args = arguments(1, "ID")
	c.ValidArgsFunction = a.completeFirst(memberIDs)
	c.RunE = func(c *cobra.Command, args []string) error {
		return a.with(c.Context(), a.timeout, func(ctx context.Context, s session) error {
			at, err := s.client.Members().SetVoter(ctx, args[0], voter)
			if err != nil {
				return err
			}
			return a.done(map[string]any{"id": args[0], "voter": voter, "revision": at.String()}, done, args[0], at)
		})
	}
	return c
}
