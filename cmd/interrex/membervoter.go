package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/limits"
)

func newMemberPromote(a *app) *cobra.Command {
	return a.voterCommand(&cobra.Command{
		Use:   "promote ID",
		Short: "Let a member have a vote",
		Long: `Lets a member have a vote again. The leader gives it one once it has caught up,
where that keeps the number of voters odd, up to 5, or in place of a voter that is
dead. The command says what the member waits for.`,
		Example: `  interrex member promote n4`,
	}, func(ctx context.Context, s session, id string) error {
		at, err := s.client.Members().SetVoter(ctx, id, true)
		if err != nil {
			return err
		}
		all, _, err := s.client.Members().List(ctx, interrex.ReadOptions{Consistency: interrex.Eventual, MinRevision: at})
		if err != nil {
			return fmt.Errorf("member %s may have a vote, as of revision %d, and whether it has one cannot be seen: %w", id, at, err)
		}
		return a.done(voterSet(id, true, at), "member %s may have a vote, as of revision %d%s", id, at, whyNoVote(id, all))
	})
}

func newMemberDemote(a *app) *cobra.Command {
	return a.voterCommand(&cobra.Command{
		Use:   "demote ID",
		Short: "Take a member's vote",
		Long: `Takes a member's vote. It keeps its place in the cluster and its data. A leader
hands over first. While the others would be no quorum without it, it keeps its vote.`,
		Example: `  interrex member demote n3`,
	}, func(ctx context.Context, s session, id string) error {
		at, err := s.client.Members().SetVoter(ctx, id, false)
		if err != nil {
			return err
		}
		return a.done(voterSet(id, false, at), "member %s is to have no vote, as of revision %d", id, at)
	})
}

func (a *app) voterCommand(c *cobra.Command, set func(ctx context.Context, s session, id string) error) *cobra.Command {
	c.Args = arguments(1, "ID")
	c.ValidArgsFunction = a.completeFirst(memberIDs)
	c.RunE = func(c *cobra.Command, args []string) error {
		return a.with(c.Context(), a.timeout, func(ctx context.Context, s session) error { return set(ctx, s, args[0]) })
	}
	return c
}

func voterSet(id string, voter bool, at interrex.Revision) map[string]any {
	return map[string]any{"id": id, "voter": voter, "revision": at.String()}
}

// whyNoVote says what a member waits for that may have a vote, and has none; empty: it
// has one.
func whyNoVote(id string, all []interrex.Member) string {
	votes, candidates := 0, 0
	for _, m := range all {
		switch {
		case m.Suffrage == "voter" && m.ID == id:
			return ""
		case m.Suffrage == "voter":
			votes++
		case role(m) == "nonvoter":
			candidates++
		}
	}
	switch {
	case votes >= limits.MaxVoters:
		return fmt.Sprintf(": it gets one in place of a voter that is dead or demoted: there are %d voters, and the leader makes no more than %d", votes, limits.MaxVoters)
	case votes%2 == 1 && candidates < 2:
		return fmt.Sprintf(": it gets one together with another agent, or in place of a voter that is dead or demoted: %d voters tolerate no more failures than %d", votes+1, votes)
	}
	return ": it gets one once it has caught up"
}
