package apiserver

import (
	"strings"
	"testing"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/internal/webhook"
)

// The leader knows the health of calls, whichever agent is queried.
func TestAFollowerAsksTheLeaderHowTheCallsOfHooksGo(t *testing.T) {
	_, f := follower(t, cluster(t, 3, func(c *Config) {
		lead := c.Leadership
		c.Webhooks.Health = func(*webhook.Hook) *interrex.WebhookHealth {
			if !lead.Current().Leader {
				return nil
			}
			return &interrex.WebhookHealth{Breaker: "half-open", Failures: 7}
		}
	}))
	f.setHook("guard", "http://127.0.0.1:1/", "")
	for method, body := range map[string]string{"List": `{}`, "Get": `{"name":"guard"}`} {
		if r := f.curl("WebhookService/"+method, body); !strings.Contains(r.body, `"half-open"`) {
			t.Errorf("%s: %d %s", method, r.status, r.body)
		}
	}
	if r := f.curl("WebhookService/List", `{"consistency":"CONSISTENCY_EVENTUAL"}`); !strings.Contains(r.body, `"guard"`) || strings.Contains(r.body, "half-open") {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := f.curl("WebhookService/Get", `{"name":"none"}`); r.status != 404 {
		t.Errorf("%d %s", r.status, r.body)
	}
	c, err := client.Dial(t.Context(), client.Config{Addresses: []string{f.url}})
	f.must(err)
	defer c.Close()
	all, _, err := client.Through(c).Webhooks().List(t.Context(), interrex.ReadOptions{})
	if err != nil || len(all) != 1 || all[0].Health == nil || all[0].Health.Breaker != "half-open" {
		t.Errorf("on a stream: %+v %v", all, err)
	}
}

func TestADryRunIsRefusedWhereNothingIsVetoed(t *testing.T) {
	nd := cluster(t, 1)[0]
	nd.expect(nd.curl("WebhookService/Set", `{"webhook":{"name":"audit","url":"http://h/","when":"after","dry_run":true}}`), 400, "dry_run: allowed only for a hook that is called before")
	nd.setHook("guard", "http://h/", `,"dry_run":true`)
}
