package health

import (
	"fmt"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/alarm"
	"github.com/interrex/interrex/internal/hookcaller"
	"github.com/interrex/interrex/internal/webhook"
	"github.com/interrex/interrex/internal/wording"
)

// skippedShown is how long it is an alarm that a webhook has missed events.
const skippedShown = time.Hour

// Webhook returns the health of a hook's calls; nil where this agent does not lead.
func (v View) Webhook(h *webhook.Hook) *interrex.WebhookHealth {
	if v.Caller == nil || !v.Leadership.Leader {
		return nil
	}
	health := v.Caller.Health(h)
	return &health
}

func (v View) webhookFailing() (found []alarm.Finding) {
	if v.Webhooks == nil || !v.readable() {
		return nil
	}
	for _, h := range v.Webhooks.Hooks() {
		health := v.Webhook(h)
		if health == nil || health.Breaker == hookcaller.Closed {
			continue
		}
		what := "its operations are refused"
		switch {
		case h.When == interrex.WebhookAfter:
			what = "its events wait"
		case h.OnFailure == interrex.WebhookAllow || h.DryRun:
			what = "its operations go on without it"
		}
		found = append(found, alarm.Finding{Subject: h.Name, Since: health.Since,
			Text: fmt.Sprintf("%s in a row, the last: %s; %s", wording.Count(health.Failures, "failure"), health.Error, what)})
	}
	return found
}

func (v View) webhookSkipped() (found []alarm.Finding) {
	if v.Teller == nil {
		return nil
	}
	for _, p := range v.Teller.Progress() {
		if !p.SkippedAt.IsZero() && v.At.Sub(p.SkippedAt) < skippedShown {
			found = append(found, alarm.Finding{Subject: p.Hook.Name, Since: p.SkippedAt,
				Text: fmt.Sprintf("it was not told of revisions %d to %d, which were no longer kept", p.SkippedFrom, p.SkippedTo)})
		}
	}
	return found
}
