package wire

import (
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
)

// Webhook returns the message of a webhook.
func Webhook(w interrex.WebhookState) *interrexv1.Webhook {
	m := WebhookSpec(w.Webhook)
	m.Timeout = durationpb.New(w.Timeout)
	m.Revision, m.Position = uint64(w.Revision), uint64(w.Position)
	m.SkippedFrom, m.SkippedTo, m.Skipped = uint64(w.SkippedFrom), uint64(w.SkippedTo), w.Skipped
	if h := w.Health; h != nil {
		m.Health = &interrexv1.WebhookHealth{Breaker: h.Breaker, Failures: Count(h.Failures), Error: h.Error, Since: Timestamp(h.Since)}
	}
	return m
}

// WebhookSpec returns the message of a webhook to be set.
func WebhookSpec(w interrex.Webhook) *interrexv1.Webhook {
	return &interrexv1.Webhook{
		Name: w.Name, Url: w.URL, When: string(w.When), Kinds: w.Kinds, Prefixes: w.Prefixes, Headers: w.Headers,
		Timeout: Optional(w.Timeout), OnFailure: string(w.OnFailure), DryRun: w.DryRun,
	}
}

// FromWebhook converts a webhook.
func FromWebhook(m *interrexv1.Webhook) (interrex.WebhookState, error) {
	var r Reader
	w := interrex.WebhookState{
		Webhook: interrex.Webhook{
			Name: m.GetName(), URL: m.GetUrl(), When: interrex.WebhookWhen(m.GetWhen()), Kinds: m.GetKinds(), Prefixes: m.GetPrefixes(),
			Headers: m.GetHeaders(), Timeout: r.Duration("timeout", m.GetTimeout()), OnFailure: interrex.WebhookPolicy(m.GetOnFailure()),
			DryRun: m.GetDryRun(),
		},
		Revision: interrex.Revision(m.GetRevision()), Position: interrex.Revision(m.GetPosition()),
		SkippedFrom: interrex.Revision(m.GetSkippedFrom()), SkippedTo: interrex.Revision(m.GetSkippedTo()), Skipped: m.GetSkipped(),
	}
	if h := m.GetHealth(); h != nil {
		w.Health = &interrex.WebhookHealth{Breaker: h.GetBreaker(), Failures: int(h.GetFailures()), Error: h.GetError(), Since: r.Time("health.since", h.GetSince())}
	}
	return w, r.Err
}
