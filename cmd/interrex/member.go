package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
)

func newMember(a *app) *cobra.Command {
	c := group(&cobra.Command{
		Use:   "member",
		Short: "Show and change who belongs to the cluster",
		Example: `  interrex member list
  interrex member demote n3                        n3 is to have no vote
  interrex member remove n3
  interrex member transfer-leader n2`,
	})
	c.AddCommand(newMemberList(a), newMemberAdd(a), newMemberRemove(a), newMemberTransfer(a), newMemberPromote(a), newMemberDemote(a))
	return c
}

// memberIDs returns the IDs for completion.
func memberIDs(ctx context.Context, s session) (ids []string, err error) {
	all, _, err := s.client.Members().List(ctx, interrex.ReadOptions{Consistency: interrex.Eventual})
	for _, m := range all {
		ids = append(ids, m.ID)
	}
	return ids, err
}
