package manifolds

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/juju/clock"
	"github.com/juju/worker/v3"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/hookcaller"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/state"
	"github.com/interrex/interrex/watch"
	"github.com/interrex/interrex/webhook"
)

// setHook sets a hook in a table, at revision 1.
func setHook(t *testing.T, table *webhook.Table, at interrex.Revision, when interrex.WebhookWhen, url string) *webhook.Hook {
	t.Helper()
	c := &webhook.Set{Spec: webhook.Spec{
		Name: "guard", URL: url, When: when, OnFailure: interrex.WebhookRefuse, Timeout: interrex.MaxWebhookTimeout,
	}}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	table.Apply(&state.Turn{Revision: at, Table: state.WebhookTable}, c)
	return table.Get("guard")
}

func newHookCaller(t *testing.T, s *Set) *hookcaller.Caller {
	t.Helper()
	c, err := hookcaller.New(hookcaller.Config{Agent: "n1", Clock: clock.WallClock, Logger: s.logger("webhooks"), Metrics: s.metrics.hooks})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// failingHook is one that hangs up, until it is mended.
func failingHook(t *testing.T, s *Set) (mend func()) {
	var works atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if !works.Load() {
			panic(http.ErrAbortHandler)
		}
	}))
	t.Cleanup(server.Close)
	table := webhook.New(webhook.Config{})
	h := setHook(t, table, 1, interrex.WebhookBefore, server.URL)
	c := newHookCaller(t, s)
	s.Leadership.Set(interrex.Leadership{Term: 1, Leader: true})
	s.Present.change(func(p *parts) { p.webhooks, p.hooks = table, c })
	ask := func() {
		call, err := c.Ask([]*webhook.Hook{h}, hookcaller.Question{})
		if err != nil {
			t.Fatal(err)
		}
		_ = call.Wait(t.Context())
	}
	for range 5 {
		ask()
	}
	return func() {
		works.Store(true)
		eventually(t, "the breaker stays open", func() bool {
			ask()
			return c.Health(h).Breaker == hookcaller.Closed
		})
	}
}

// skippedHook is one whose events are gone, until it is set again.
func skippedHook(t *testing.T, s *Set) (mend func()) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(server.Close)
	table := webhook.New(webhook.Config{})
	setHook(t, table, 1, interrex.WebhookAfter, server.URL)
	ring := watch.New(watch.Config{MaxEvents: 8})
	t.Cleanup(ring.Close)
	for i := range interrex.Revision(100) {
		ring.Publish([]state.Event{{Revision: i + 1, Kind: interrex.LeaseClaimed, Key: fmt.Sprint("a/", i)}}, i+1)
	}
	q, err := queue.New(queue.Config{Clock: clock.WallClock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = worker.Stop(q) })
	w, err := hookcaller.NewWorker(hookcaller.WorkerConfig{
		Caller: newHookCaller(t, s), Table: table, Ring: ring, Queue: q, Clock: clock.WallClock, Logger: s.logger("webhooks"),
		Data: func(*state.Event) ([]byte, error) { return nil, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = worker.Stop(w) })
	s.Present.change(func(p *parts) { p.teller = w })
	return func() { setHook(t, table, 101, interrex.WebhookAfter, server.URL) }
}
