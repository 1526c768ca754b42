package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
)

func newWebhookDelete(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:               "delete NAME",
		Short:             "Delete a webhook",
		Example:           `  interrex webhook delete guard`,
		Args:              arguments(1, "NAME"),
		ValidArgsFunction: a.completeFirst(webhookNames),
		RunE: func(c *cobra.Command, args []string) error {
			return a.with(c.Context(), a.timeout, func(ctx context.Context, s session) error {
				_, at, err := s.client.Webhooks().Delete(ctx, interrex.WebhookDeletion{Name: args[0]})
				if err != nil {
					return err
				}
				return a.done(map[string]any{"name": args[0], "revision": at.String()}, "webhook %s is deleted at revision %d", args[0], at)
			})
		},
	}
	a.requestIDFlag(c)
	return c
}
