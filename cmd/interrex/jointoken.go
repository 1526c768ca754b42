package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/internal/wire"
	"github.com/interrex/interrex/internal/wording"
)

func newJoinToken(a *app) *cobra.Command {
	c := group(&cobra.Command{
		Use:   "join-token",
		Short: "Manage the tokens with which agents join the cluster",
		Example: `  interrex join-token create                       for one agent, valid for an hour
  interrex join-token create --uses 5 --ttl 24h
  interrex join-token list`,
	})
	c.AddCommand(newJoinTokenCreate(a), newJoinTokenList(a), newJoinTokenRevoke(a))
	return c
}

func newJoinTokenCreate(a *app) *cobra.Command {
	var r interrex.JoinTokenRequest
	c := &cobra.Command{
		Use:   "create",
		Short: "Create a join token, and print it once",
		Long: `Creates a join token, and prints it. It is a secret that is not kept anywhere: the
cluster knows only its public half. Write it into a file that only root can read,
and give that to 'interrex agent join ADDRESS --token-file FILE' on the new machine.

Its life is counted in cluster time, which stands still while there is no leader.`,
		Example: `  interrex join-token create >join.token
  interrex join-token create --for n3              n3 may come with a new key`,
		Args: arguments(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c.Context(), a.timeout, func(ctx context.Context, s session) error {
				secret, t, err := s.client.Members().CreateJoinToken(ctx, r)
				if err != nil {
					return secretLost(err, "interrex join-token list")
				}
				return a.secret(map[string]any{"id": t.ID, "token": secret, "expires_at": t.ExpiresAt}, secret)
			})
		},
	}
	c.Flags().IntVar(&r.Uses, "uses", 1, "how many agents may join with it, 1 to 1000")
	c.Flags().DurationVar(&r.TTL, "ttl", limits.DefaultJoinTTL, "how long it is valid, 1s to 720h")
	c.Flags().StringVar(&r.Member, "for", "", "the only agent that may use it, which may then also replace the key of the member with that ID")
	return c
}

func newJoinTokenList(a *app) *cobra.Command {
	var eventual bool
	var o interrex.ReadOptions
	c := &cobra.Command{
		Use:     "list",
		Short:   "Show the join tokens that have not ended",
		Example: `  interrex join-token list`,
		Args:    arguments(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			o.Consistency = consistency(eventual)
			return a.with(c.Context(), a.timeout, func(ctx context.Context, s session) error { return a.listJoinTokens(ctx, s, o) })
		},
	}
	readFlags(c, &o, &eventual)
	return c
}

func (a *app) listJoinTokens(ctx context.Context, s session, o interrex.ReadOptions) error {
	all, revision, err := s.client.Members().JoinTokens(ctx, o)
	if err != nil {
		return err
	}
	t := table{header: []string{"ID", "FOR", "USES", "USED BY", "REMAINING"}}
	page := listing{revision: revision}
	var ids []string
	for _, j := range all {
		t.rows = append(t.rows, []string{
			j.ID, cmp.Or(j.Member, "any"), fmt.Sprintf("%d of %d", len(j.UsedBy), j.MaxUses),
			cmp.Or(strings.Join(j.UsedBy, ","), "-"), joinable(j),
		})
		page.items = append(page.items, wire.JoinToken(j))
		ids = append(ids, j.ID)
	}
	return a.print(page, t, ids...)
}

// joinable says how long a token may still be used.
func joinable(j interrex.JoinToken) string {
	if j.Outdated {
		return "ended: the CA was rotated"
	}
	return wording.Rounded(j.Remaining)
}

func newJoinTokenRevoke(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "revoke ID",
		Short:   "End a join token",
		Example: `  interrex join-token revoke 8f14e45fceea167a`,
		Args:    arguments(1, "ID"),
		RunE: func(c *cobra.Command, args []string) error {
			return a.with(c.Context(), a.timeout, func(ctx context.Context, s session) error {
				at, err := s.client.Members().RevokeJoinToken(ctx, args[0])
				if err != nil {
					return err
				}
				return a.done(map[string]any{"id": args[0], "revision": at.String()}, "join token %s is revoked at revision %d", args[0], at)
			})
		},
	}
}
