package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
)

func newWebhook(a *app) *cobra.Command {
	c := group(&cobra.Command{
		Use:   "webhook",
		Short: "Manage calls to other services before operations and after events",
		Example: `  interrex webhook set guard --url https://guard.example/check --kind lease.claimed --prefix prod/
  interrex webhook set audit --url https://audit.example/in --when after --header-file audit.headers
  interrex webhook test audit
  interrex webhook list`,
	})
	c.AddCommand(newWebhookSet(a), newWebhookList(a), newWebhookDelete(a), newWebhookTest(a))
	return c
}

// webhookNames returns the names for completion.
func webhookNames(ctx context.Context, s session) (names []string, err error) {
	all, _, err := s.client.Webhooks().List(ctx, interrex.ReadOptions{Consistency: interrex.Eventual})
	for _, w := range all {
		names = append(names, w.Name)
	}
	return names, err
}
