package main

import (
	"context"

	"github.com/spf13/cobra"
)

func newMemberTransfer(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "transfer-leader [ID]",
		Short: "Hand leadership over to another voter",
		Long: `Hands leadership over to a voter, or without ID to the one that has most of the log,
and reports when it leads. An agent that is about to stop does it by itself.`,
		Example: `  interrex member transfer-leader
  interrex member transfer-leader n2`,
		Args:              atMostOne("ID"),
		ValidArgsFunction: a.completeFirst(memberIDs),
		RunE: func(c *cobra.Command, args []string) error {
			id := ""
			if len(args) > 0 {
				id = args[0]
			}
			return a.with(c.Context(), a.timeout, func(ctx context.Context, s session) error {
				now, err := s.client.Members().TransferLeader(ctx, id)
				if err != nil {
					return err
				}
				return a.done(map[string]any{"leader_id": now.LeaderID, "term": now.Term}, "%s leads in term %d", now.LeaderID, now.Term)
			})
		},
	}
}
