package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/wire"
	"github.com/interrex/interrex/internal/wording"
)

func newWebhookList(a *app) *cobra.Command {
	var eventual bool
	var o interrex.ReadOptions
	c := &cobra.Command{
		Use:   "list",
		Short: "Show the webhooks, and the state of their calls",
		Long: `Shows the webhooks, and the state of their calls. Only the leader knows that state;
it is not shown with --eventual.

The column STATE has:
  no failures             the last call got a response, or there was no call since the
                          webhook was set or the leader changed
  called: ...             the last calls got no response; calls continue
  not called for now: ... after 5 consecutive failures: ON-FAILURE applies, or events wait
  one trial call is next: ... as above, and the next call is made to see whether it works
  events delivered ...    up to that revision, which lags by a few seconds; at first
                          it is the revision at which the webhook was set
  skipped ...             number of revisions that were never sent, and the last of them

In JSON these are the fields health.breaker (closed, open, half-open), failures,
error, position and skipped.`,
		Example: `  interrex webhook list
  interrex webhook list -o json`,
		Args: arguments(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			o.Consistency = consistency(eventual)
			return a.with(c.Context(), a.timeout, func(ctx context.Context, s session) error { return a.listWebhooks(ctx, s, o) })
		},
	}
	readFlags(c, &o, &eventual)
	return c
}

func (a *app) listWebhooks(ctx context.Context, s session, o interrex.ReadOptions) error {
	all, revision, err := s.client.Webhooks().List(ctx, o)
	if err != nil {
		return err
	}
	t := table{header: []string{"NAME", "WHEN", "URL", "KINDS", "PREFIXES", "ON-FAILURE", "STATE"}}
	page := listing{revision: revision}
	var names []string
	for _, w := range all {
		policy := string(w.OnFailure)
		if w.When == interrex.WebhookAfter {
			policy = "-"
		}
		if w.DryRun {
			policy += ", dry run"
		}
		t.rows = append(t.rows, []string{w.Name, string(w.When), w.URL, orAll(w.Kinds), orAll(w.Prefixes), policy, webhookState(w)})
		page.items = append(page.items, wire.Webhook(w))
		names = append(names, w.Name)
	}
	return a.print(page, t, names...)
}

func orAll(texts []string) string { return cmp.Or(strings.Join(texts, ","), "all") }

// webhookState says whether calls succeed, what is delivered, and what was skipped.
func webhookState(w interrex.WebhookState) string {
	parts := []string{callsOf(w.Health)}
	if w.When == interrex.WebhookAfter {
		parts = append(parts, fmt.Sprintf("events delivered up to revision %d", w.Position))
	}
	if w.Skipped > 0 {
		parts = append(parts, fmt.Sprintf("skipped %d, last %d to %d", w.Skipped, w.SkippedFrom, w.SkippedTo))
	}
	return strings.Join(parts, "; ")
}

// callsOf says in words what a breaker's state means.
func callsOf(h *interrex.WebhookHealth) string {
	switch {
	case h == nil:
		return "state of its calls known only to the leader"
	case h.Failures == 0:
		return "no failures"
	}
	text := wording.Count(h.Failures, "consecutive failure") + ", the last: " + h.Error
	switch h.Breaker {
	case "open":
		return "not called for now: " + text
	case "half-open":
		return "one trial call is next: " + text
	}
	return "called: " + text
}
