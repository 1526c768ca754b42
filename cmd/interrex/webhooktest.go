package main

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/limits"
)

func newWebhookTest(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "test NAME",
		Short:             "Send a sample to a webhook, and show the response",
		Long:              "Sends a sample to a webhook, from the agent that is contacted, and shows the\nresponse. The exit code is 0 if that is a status of 200 to 299.",
		Example:           `  interrex webhook test guard`,
		Args:              arguments(1, "NAME"),
		ValidArgsFunction: a.completeFirst(webhookNames),
		RunE: func(c *cobra.Command, args []string) error {
			return a.with(c.Context(), max(a.timeout, limits.MaxWebhookTimeout+time.Second), func(ctx context.Context, s session) error {
				t, err := s.client.Webhooks().Test(ctx, args[0])
				if err != nil {
					return err
				}
				return a.printWebhookTest(args[0], t)
			})
		},
	}
}

func (a *app) printWebhookTest(name string, t interrex.WebhookTest) error {
	status := fmt.Sprint(t.Status)
	if t.Status == 0 {
		status = "-"
	}
	document := map[string]any{"status": t.Status, "duration": t.Duration.String(), "body": t.Body, "error": t.Error, "agent": t.Agent}
	err := a.print(document, table{
		header: []string{"STATUS", "DURATION", "AGENT", "RESPONSE"},
		rows:   [][]string{{status, t.Duration.Round(time.Millisecond).String(), t.Agent, cmp.Or(t.Body, "-")}},
	}, status)
	if err == nil && (t.Status < 200 || t.Status > 299) {
		err = fmt.Errorf("webhook %s: %s", name, cmp.Or(t.Error, "it responded with "+status))
	}
	return err
}
