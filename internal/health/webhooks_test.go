package health

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/juju/clock"
	"github.com/juju/worker/v3"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/hookcaller"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/silent"
	"github.com/interrex/interrex/internal/watch"
	"github.com/interrex/interrex/internal/webhook"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/state"
)

// setHook sets a hook in a table, at revision 1.
func setHook(t *testing.T, table *webhook.Table, at interrex.Revision, when interrex.WebhookWhen, url string) *webhook.Hook {
	t.Helper()
	c := &webhook.Set{Spec: webhook.Spec{
		Name: "guard", URL: url, When: when, OnFailure: interrex.WebhookRefuse, Timeout: limits.MaxWebhookTimeout,
	}}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	table.Apply(&state.Turn{Revision: at, Table: machine.WebhookTable}, c)
	return table.Get("guard")
}

func newHookCaller(t *testing.T) *hookcaller.Caller {
	t.Helper()
	c, err := hookcaller.New(hookcaller.Config{Agent: "n1", Clock: clock.WallClock, Logger: silent.Logger{}, Metrics: hookcaller.NewMetrics()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// failingHook is one that hangs up, until it is mended.
func failingHook(t *testing.T, a *agent) (mend func()) {
	var works atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if !works.Load() {
			panic(http.ErrAbortHandler)
		}
	}))
	t.Cleanup(server.Close)
	table := webhook.New()
	h := setHook(t, table, 1, interrex.WebhookBefore, server.URL)
	c := newHookCaller(t)
	a.view.Leadership = interrex.Leadership{Term: 1, Leader: true}
	a.view.Webhooks, a.view.Caller = table, c
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
func skippedHook(t *testing.T, a *agent) (mend func()) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(server.Close)
	table := webhook.New()
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
		Caller: newHookCaller(t), Table: table, Ring: ring, Queue: q, Clock: clock.WallClock, Logger: silent.Logger{},
		Data: func(*state.Event) ([]byte, error) { return nil, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = worker.Stop(w) })
	a.view.Teller = w
	return func() { setHook(t, table, 101, interrex.WebhookAfter, server.URL) }
}

func TestWhatAFailingWebhookMeansIsSaid(t *testing.T) {
	a := newAgent(t)
	mend := failingHook(t, a)
	h := a.view.Webhooks.Get("guard")
	for _, c := range []struct {
		edit func(*webhook.Spec)
		want string
	}{
		{func(*webhook.Spec) {}, "; its operations are refused"},
		{func(s *webhook.Spec) { s.OnFailure = interrex.WebhookAllow }, "; its operations go on without it"},
		{func(s *webhook.Spec) { s.DryRun = true }, "; its operations go on without it"},
		{func(s *webhook.Spec) { s.When = interrex.WebhookAfter }, "; its events wait"},
	} {
		set := &webhook.Set{Spec: h.Spec}
		c.edit(&set.Spec)
		table := webhook.New()
		table.Apply(&state.Turn{Revision: 1, Table: machine.WebhookTable}, set)
		a.view.Webhooks = table
		if found := a.find("webhook-failing"); len(found) != 1 || !strings.HasSuffix(found[0].Text, c.want) {
			t.Errorf("%+v, want %q", found, c.want)
		}
	}
	if is := measured(t, a.health)["interrex_hook_breaker_open guard"]; is != 1 {
		t.Errorf("the figure of an open breaker is %v", is)
	}
	a.view.Leadership = interrex.Leadership{Term: 2}
	if found := a.find("webhook-failing"); len(found) != 0 {
		t.Errorf("where it is not called: %+v", found)
	}
	a.view.Leadership = interrex.Leadership{Term: 3, Leader: true}
	mend()
	if is, there := measured(t, a.health)["interrex_hook_breaker_open guard"]; is != 0 || !there {
		t.Errorf("the figure of one that is closed is %v, %v", is, there)
	}
}

func TestWhatAWebhookWasNotToldOfIsShownForAnHour(t *testing.T) {
	a := newAgent(t)
	skippedHook(t, a)
	eventually(t, "it is not said", func() bool { return len(a.find("webhook-skipped")) == 1 })
	later := a.view
	later.At = time.Now().Add(skippedShown + time.Minute)
	if found := later.webhookSkipped(); len(found) != 0 {
		t.Errorf("after an hour: %+v", found)
	}
	table := webhook.New()
	setHook(t, table, 1, interrex.WebhookAfter, "http://x/")
	table.Apply(&state.Turn{}, &webhook.Advance{Steps: []webhook.Step{{Name: "guard", Created: 1, To: 9, SkippedFrom: 2, SkippedTo: 4, Skipped: 3}}})
	a.view.Webhooks = table
	a.view.Teller = nil
	if is := measured(t, a.health)["interrex_hook_skipped_revisions guard"]; is != 3 {
		t.Errorf("the figure is %v", is)
	}
}
