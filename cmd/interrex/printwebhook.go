package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/wire"
)

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

// webhookState says how the calls go, what is delivered, and what was skipped.
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
	text := fmt.Sprintf("%d consecutive failures, the last: %s", h.Failures, h.Error)
	switch h.Breaker {
	case "open":
		return "not called for now: " + text
	case "half-open":
		return "one trial call is next: " + text
	}
	return "called: " + text
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
