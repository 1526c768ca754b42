package main

import (
	"testing"

	"github.com/interrex/interrex"
)

func TestTheStateOfAWebhookThatOnlyTheLeaderKnowsIsSaidToBeThere(t *testing.T) {
	for want, w := range map[string]interrex.WebhookState{
		"known to the leader":             {},
		"known to the leader; told to 20": {Position: 20},
		"called":                          {Health: &interrex.WebhookHealth{Breaker: "closed"}},
		"about to be tried again":         {Health: &interrex.WebhookHealth{Breaker: "half-open"}},
		"not called for now; failures in a row: 5, the last: refused": {Health: &interrex.WebhookHealth{Breaker: "open", Failures: 5, Error: "refused"}},
	} {
		if got := webhookState(w); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
