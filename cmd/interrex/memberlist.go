package main

import (
	"cmp"
	"context"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/wire"
	"github.com/interrex/interrex/internal/wording"
)

func newMemberList(a *app) *cobra.Command {
	var eventual bool
	var o interrex.ReadOptions
	c := &cobra.Command{
		Use:   "list",
		Short: "Show the members of the cluster",
		Long: `Shows the members of the cluster, as the agent that answers sees them.

The column ROLE has:
  leader     it leads
  voter      it has a vote
  nonvoter   it has the data and no vote: the leader gives votes to agents that
             have caught up, where that keeps the number of voters odd, up to 5
  spare      as nonvoter, and it is to have no vote ('interrex member demote')
  admitted   it has a certificate, and has not been seen yet: start it
  leaving    it was removed, or has lost its disk, and what it was is still in raft's
             configuration`,
		Example: `  interrex member list
  interrex member list -o json`,
		Args: arguments(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			o.Consistency = consistency(eventual)
			return a.with(c.Context(), a.timeout, func(ctx context.Context, s session) error { return a.listMembers(ctx, s, o) })
		},
	}
	readFlags(c, &o, &eventual)
	return c
}

func (a *app) listMembers(ctx context.Context, s session, o interrex.ReadOptions) error {
	all, revision, err := s.client.Members().List(ctx, o)
	if err != nil {
		return err
	}
	t := table{header: []string{"ID", "ROLE", "CLUSTER ADDRESS", "API ADDRESS", "VERSION", "CONTACT"}}
	page := listing{revision: revision}
	var ids []string
	for _, m := range all {
		t.rows = append(t.rows, []string{m.ID, role(m), cmp.Or(m.Address, "-"), cmp.Or(m.APIAddress, "-"), cmp.Or(m.Version, "-"), contact(m)})
		page.items = append(page.items, wire.Member(m))
		ids = append(ids, m.ID)
	}
	return a.print(page, t, ids...)
}

// role says in a word what a member is.
func role(m interrex.Member) string {
	switch {
	case m.Leaving:
		return "leaving"
	case m.Leader:
		return "leader"
	case m.Forwards:
		return "forwards"
	case m.Suffrage == "":
		return "admitted"
	case m.Suffrage == "nonvoter" && m.NonVoter:
		return "spare"
	}
	return m.Suffrage
}

func contact(m interrex.Member) string {
	switch {
	case m.Refusal != "":
		return m.Refusal
	case m.LastContact != nil && m.Silent:
		return "silent for " + wording.Rounded(*m.LastContact)
	case m.Forwards:
		return "-"
	case m.Silent || m.Suffrage == "":
		return "never heard from"
	}
	return "ok"
}
