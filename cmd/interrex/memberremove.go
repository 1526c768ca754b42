package main

import (
	"context"

	"github.com/spf13/cobra"
)

func newMemberRemove(a *app) *cobra.Command {
	force := false
	c := &cobra.Command{
		Use:   "remove ID",
		Short: "Remove a member from the cluster",
		Long: `Removes a member from the cluster. It loses its vote, then its place in raft's
configuration, also while it is off. It keeps its data directory, and does not come
back with that data: to bring its machine back, stop the agent and run 'interrex agent
join' there with a join token, which sets the data aside. Its process goes on, answers
"removed from cluster" to every request, and has the alarm "removed"; one that was off
learns of it when it meets a member.

If the other voters would be no quorum without it, the removal is refused. --force
records it all the same; it stays in raft's configuration until they are one.`,
		Example:           `  interrex member remove n3`,
		Args:              arguments(1, "ID"),
		ValidArgsFunction: a.completeFirst(memberIDs),
		RunE: func(c *cobra.Command, args []string) error {
			return a.with(c.Context(), a.timeout, func(ctx context.Context, s session) error {
				remove := s.client.Members().Remove
				if force {
					remove = s.client.Members().ForceRemove
				}
				at, err := remove(ctx, args[0])
				if err != nil {
					return err
				}
				return a.done(map[string]any{"id": args[0], "revision": at.String()}, "member %s is removed at revision %d", args[0], at)
			})
		},
	}
	c.Flags().BoolVar(&force, "force", false, "also if the other voters would be no quorum")
	return c
}
