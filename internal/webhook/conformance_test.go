package webhook_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/webhook"
	"github.com/interrex/interrex/state"
	"github.com/interrex/interrex/state/statetest"
)

func TestTableConforms(t *testing.T) {
	statetest.Run(t, statetest.Config{
		New:     func() state.Table { return webhook.New() },
		Command: randomCommand,
	})
}

// spec is a hook with every field set.
func spec(name string) webhook.Spec {
	return webhook.Spec{
		Name: name, URL: "https://hooks.example/in?x=1", When: interrex.WebhookAfter,
		Kinds: []string{interrex.LeaseClaimed, interrex.LeaseExpired}, Prefixes: []string{"team/", "web/a"},
		Headers: []webhook.Header{{Name: "Authorization", Value: "Bearer hidden"}, {Name: "X-A", Value: "b"}},
		Timeout: time.Second, OnFailure: interrex.WebhookRefuse, DryRun: true,
	}
}

func randomCommand(r *rand.Rand, seen []state.Reply) []byte {
	name := fmt.Sprint("hook", r.IntN(20))
	var last *webhook.Hook
	for _, reply := range seen {
		if h := reply.(*webhook.Reply).Hook; h != nil {
			last = h
		}
	}
	if last != nil && r.IntN(2) == 0 {
		name = last.Name
	}
	switch r.IntN(6) {
	case 0:
		return (&webhook.Delete{Name: name}).Append(nil)
	case 1, 2:
		s := webhook.Step{Name: name, Created: interrex.Revision(r.IntN(50)), To: interrex.Revision(r.IntN(5000))}
		if last != nil {
			s.Name, s.Created = last.Name, last.Created
		}
		if r.IntN(2) == 0 {
			s.SkippedFrom, s.SkippedTo, s.Skipped = 3, 5, 3
		}
		return (&webhook.Advance{Steps: []webhook.Step{s}}).Append(nil)
	}
	c := &webhook.Set{Spec: spec(name)}
	if r.IntN(2) == 0 {
		c.When, c.Kinds = interrex.WebhookBefore, nil
	}
	if r.IntN(2) == 0 {
		c.Secret = "0123456789abcdef"
	}
	return c.Append(nil)
}
