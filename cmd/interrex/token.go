package main

import (
	"cmp"
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/wire"
	"github.com/interrex/interrex/internal/wording"
)

func newToken(a *app) *cobra.Command {
	c := group(&cobra.Command{
		Use:   "token",
		Short: "Manage the tokens with which callers use the API",
		Long: `Manages the tokens with which callers use the API. As soon as there has been one,
every caller needs one, or a client certificate; only those at an agent's socket do
not: they are operators. A caller gives its token in the file that
INTERREX_TOKEN_FILE names, or in INTERREX_TOKEN, and over HTTP as
'Authorization: Bearer TOKEN'.`,
		Example: `  interrex token create --name ann --operator
  interrex token create --name web --rule 'lease:claim,extend,revoke:default/web*'
  interrex token list`,
	})
	c.AddCommand(newTokenCreate(a), newTokenList(a), newTokenRevoke(a))
	return c
}

func newTokenCreate(a *app) *cobra.Command {
	var r interrex.AccessTokenRequest
	var rules []string
	c := &cobra.Command{
		Use:   "create --name NAME (--operator | --rule RULE ...)",
		Short: "Create an access token, and print it once",
		Long: `Creates an access token, and prints it. It is a secret that is not kept anywhere: the
cluster knows only its hash. Write it into a file that only its user can read.

A rule is TABLE:VERB[,VERB]:PREFIX. The tables are lease, resource, change, webhook,
member, certificate, token, maintenance and agent; the verbs are the methods of the API
in lower case, such as claim, extend, revoke, transfer, pin, unpin, write, delete,
append; read, list and watch are those that read. The prefix is a key, or the beginning
of keys and *. Keys of 'interrex kv' are resources: interrex.Value/default/NAMESPACE/KEY.
With :own at its end a rule allows only the token's name as the holder, also of a lease
that is extended, revoked or transferred. What only operators may do has no rule.

A client certificate of the API's own client-ca has the rights of the tokens that
have its common name.`,
		Example: `  interrex token create --name ann --operator >ann.token
  interrex token create --name web --rule 'lease:claim,extend,revoke:default/web*:own' --rule 'lease:read,list,watch:*'
  interrex token create --name backup --rule 'resource:read,list:interrex.Value/*' --ttl 720h`,
		Args: arguments(0, "no arguments except --name NAME"),
		RunE: func(c *cobra.Command, _ []string) error {
			for _, text := range rules {
				one, err := interrex.ParseAccessRule(text)
				if err != nil {
					return usageError{err}
				}
				r.Rules = append(r.Rules, one)
			}
			return a.with(c.Context(), a.timeout, func(ctx context.Context, s session) error {
				secret, t, err := s.client.Tokens().Create(ctx, r)
				if err != nil {
					return secretLost(err, "interrex token list")
				}
				answer := map[string]any{"id": t.ID, "name": t.Name, "token": secret}
				if !t.ExpiresAt.IsZero() {
					answer["expires_at"] = t.ExpiresAt
				}
				return a.secret(answer, secret)
			})
		},
	}
	flags := c.Flags()
	flags.StringVar(&r.Name, "name", "", "whose it is, 1 to 64 of a-z A-Z 0-9 . _ - / @ :")
	flags.BoolVar(&r.Operator, "operator", false, "it may do everything")
	flags.StringArrayVar(&rules, "rule", nil, "what it may do, TABLE:VERB[,VERB]:PREFIX[:own]; may be repeated")
	flags.DurationVar(&r.TTL, "ttl", 0, "how long it is valid, from 1s, in cluster time (default: until it is revoked)")
	return c
}

func newTokenList(a *app) *cobra.Command {
	var eventual bool
	var o interrex.ReadOptions
	c := &cobra.Command{
		Use:     "list",
		Short:   "Show the access tokens that have not ended",
		Example: `  interrex token list`,
		Args:    arguments(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			o.Consistency = consistency(eventual)
			return a.with(c.Context(), a.timeout, func(ctx context.Context, s session) error { return a.listTokens(ctx, s, o) })
		},
	}
	readFlags(c, &o, &eventual)
	return c
}

func (a *app) listTokens(ctx context.Context, s session, o interrex.ReadOptions) error {
	all, revision, err := s.client.Tokens().List(ctx, o)
	if err != nil {
		return err
	}
	t := table{header: []string{"ID", "NAME", "REMAINING", "MAY"}}
	page := listing{revision: revision}
	var ids []string
	for _, one := range all {
		may := ""
		for _, r := range one.Rules {
			may += " " + r.String()
		}
		t.rows = append(t.rows, []string{one.ID, one.Name, lifeLeft(one.Remaining), cmp.Or(may, " everything")[1:]})
		page.items = append(page.items, wire.AccessToken(one))
		ids = append(ids, one.ID)
	}
	return a.print(page, t, ids...)
}

// lifeLeft returns the text of what remains of a token's life.
func lifeLeft(d time.Duration) string {
	if d == 0 {
		return "-"
	}
	return wording.Rounded(d)
}

func newTokenRevoke(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "revoke ID",
		Short:             "End an access token, and what is open with it",
		Example:           `  interrex token revoke 8f14e45fceea167a`,
		Args:              arguments(1, "ID"),
		ValidArgsFunction: a.completeFirst(tokenIDs),
		RunE: func(c *cobra.Command, args []string) error {
			return a.with(c.Context(), a.timeout, func(ctx context.Context, s session) error {
				at, err := s.client.Tokens().Revoke(ctx, args[0])
				if err != nil {
					return err
				}
				return a.done(map[string]any{"id": args[0], "revision": at.String()}, "access token %s is revoked at revision %d", args[0], at)
			})
		},
	}
}

// tokenIDs returns the IDs for completion.
func tokenIDs(ctx context.Context, s session) (ids []string, err error) {
	all, _, err := s.client.Tokens().List(ctx, interrex.ReadOptions{Consistency: interrex.Eventual})
	for _, t := range all {
		ids = append(ids, t.ID)
	}
	return ids, err
}
