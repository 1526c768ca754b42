package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
)

func newRevoke(a *app) *cobra.Command {
	var r interrex.RevokeRequest
	var token string
	c := &cobra.Command{
		Use:   "revoke KEY",
		Short: "End a lease",
		Example: `  interrex lease revoke db --lease-token 17
  interrex lease revoke db --force          regardless of the holder`,
		Args: arguments(1, "KEY"),
		RunE: func(c *cobra.Command, args []string) (err error) {
			if r.Key, err = interrex.ParseKey(args[0]); err != nil {
				return err
			}
			if !r.Force || token != "" {
				if r.Token, err = readToken(token); err != nil {
					return usageError{fmt.Errorf("%w; --force ends it without the token", err)}
				}
			}
			return a.with(c.Context(), a.timeout, func(ctx context.Context, s session) error { return a.revoke(ctx, s, r) })
		},
	}
	tokenFlag(c, &token)
	a.requestIDFlag(c)
	c.Flags().BoolVar(&r.Force, "force", false, "end it without the token: the key is free before the holder knows")
	return c
}

// revoked returns the API's answer to a revoke, for JSON and YAML.
func revoked(r interrex.RevokeAnswer) any {
	document := struct {
		HolderUntil *time.Time        `json:"holder_until,omitempty"`
		Replayed    bool              `json:"replayed"`
		Revision    interrex.Revision `json:"revision,string"`
	}{Replayed: r.Replayed, Revision: r.Revision}
	if until := r.HolderUntil.UTC(); !r.HolderUntil.IsZero() {
		document.HolderUntil = &until
	}
	return document
}

func (a *app) revoke(ctx context.Context, s session, r interrex.RevokeRequest) error {
	answer, err := s.leases.Revoke(ctx, r)
	if err != nil {
		return err
	}
	if until := answer.HolderUntil; !until.IsZero() {
		a.say("the former holder may continue until %s: until then only checking the token excludes it", until.UTC().Format(time.RFC3339))
	}
	return a.print(revoked(answer), table{
		header: []string{"KEY", "REVISION"},
		rows:   [][]string{{r.Key.String(), answer.Revision.String()}},
	}, r.Key.String())
}
