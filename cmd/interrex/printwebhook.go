package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/hookcaller"
	"github.com/interrex/interrex/wire"
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

func orAll(texts []string) string { return orDefault(strings.Join(texts, ","), "all") }

// webhookState says how the calls go, and what was skipped.
func webhookState(w interrex.WebhookState) string {
	var parts []string
	if w.Health == nil {
		parts = append(parts, "known to the leader")
	} else {
		parts = append(parts, breakerInWords(w.Health.Breaker))
		if w.Health.Failures > 0 {
			parts = append(parts, fmt.Sprintf("failures in a row: %d, the last: %s", w.Health.Failures, w.Health.Error))
		}
	}
	if w.Position > 0 {
		parts = append(parts, fmt.Sprintf("told to %d", w.Position))
	}
	if w.Skipped > 0 {
		parts = append(parts, fmt.Sprintf("skipped %d, last %d to %d", w.Skipped, w.SkippedFrom, w.SkippedTo))
	}
	return strings.Join(parts, "; ")
}

// breakerInWords says what the state of a webhook's breaker means for its calls.
func breakerInWords(state string) string {
	switch state {
	case hookcaller.Closed:
		return "called"
	case hookcaller.Open:
		return "not called for now"
	case hookcaller.HalfOpen:
		return "about to be tried again"
	}
	return state
}

func (a *app) printWebhookTest(name string, t interrex.WebhookTest) error {
	status := fmt.Sprint(t.Status)
	if t.Status == 0 {
		status = "-"
	}
	document := map[string]any{"status": t.Status, "duration": t.Duration.String(), "body": t.Body, "error": t.Error, "agent": t.Agent}
	err := a.print(document, table{
		header: []string{"STATUS", "DURATION", "AGENT", "ANSWER"},
		rows:   [][]string{{status, t.Duration.Round(time.Millisecond).String(), t.Agent, orDefault(t.Body, "-")}},
	}, status)
	if err == nil && (t.Status < 200 || t.Status > 299) {
		err = fmt.Errorf("webhook %s: %s", name, orDefault(t.Error, "it answers "+status))
	}
	return err
}
