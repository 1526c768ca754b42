package main

import (
	"testing"

	"github.com/interrex/interrex"
)

func TestTheStateOfAWebhookIsSaidInWords(t *testing.T) {
	failed := func(breaker string) *interrex.WebhookHealth {
		return &interrex.WebhookHealth{Breaker: breaker, Failures: 5, Error: "refused"}
	}
	after := interrex.Webhook{When: interrex.WebhookAfter}
	for want, w := range map[string]interrex.WebhookState{
		"state of its calls known only to the leader":                                     {},
		"state of its calls known only to the leader; events delivered up to revision 20": {Webhook: after, Position: 20},
		"no failures": {Health: &interrex.WebhookHealth{Breaker: "closed"}},
		"called: 5 consecutive failures, the last: refused":                 {Health: failed("closed")},
		"not called for now: 5 consecutive failures, the last: refused":     {Health: failed("open")},
		"one trial call is next: 5 consecutive failures, the last: refused": {Health: failed("half-open")},
		"no failures; events delivered up to revision 9; skipped 2, last 3 to 4": {
			Webhook: after, Health: &interrex.WebhookHealth{Breaker: "closed"}, Position: 9, Skipped: 2, SkippedFrom: 3, SkippedTo: 4},
	} {
		if got := webhookState(w); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
