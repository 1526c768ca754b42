package featuretests

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/limits"
)

// hookServer is what a webhook calls; nil answers 200.
func hookServer(t *testing.T, handle http.HandlerFunc) (url string) {
	t.Helper()
	if handle == nil {
		handle = func(http.ResponseWriter, *http.Request) {}
	}
	s := httptest.NewServer(handle)
	t.Cleanup(s.Close)
	return s.URL
}

// ledger is what a webhook has received, in order.
type ledger struct {
	url string
	mu  sync.Mutex
	all []interrex.Revision
}

func newLedger(t *testing.T) *ledger {
	l := &ledger{}
	l.url = hookServer(t, func(_ http.ResponseWriter, r *http.Request) {
		var event struct {
			Revision interrex.Revision `json:"revision,string"`
		}
		body, _ := io.ReadAll(r.Body)
		if err := json.Unmarshal(body, &event); err != nil {
			t.Errorf("%s: %v", body, err)
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.all = append(l.all, event.Revision)
	})
	return l
}

func (l *ledger) received() []interrex.Revision {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.all)
}

// The leader is killed amid deliveries: everything is delivered, in order except for
// repetitions.
func TestAWebhookIsToldEverythingWhenItsLeaderIsKilled(t *testing.T) {
	f := newFleet(t, 3, nil)
	c := f.client()
	l := newLedger(t)
	if _, err := c.Webhooks().Set(t.Context(), interrex.WebhookRequest{Webhook: interrex.Webhook{
		Name: "audit", URL: l.url, When: interrex.WebhookAfter, Kinds: []string{interrex.LeaseClaimed},
	}}); err != nil {
		t.Fatal(err)
	}
	var claimed []interrex.Revision
	claim := func(i int) {
		a, err := c.Leases().Claim(t.Context(), interrex.ClaimRequest{Key: key(fmt.Sprint("a/", i)), Holder: "ann", TTL: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		claimed = append(claimed, interrex.Revision(a.Lease.Token))
	}
	for i := range 60 {
		if i == 30 {
			f.kill(f.leader())
		}
		claim(i)
	}
	eventually(t, "the webhook receives everything", func() error {
		received := l.received()
		for _, at := range claimed {
			if !slices.Contains(received, at) {
				return fmt.Errorf("it has not received %d of %d", at, len(claimed))
			}
		}
		return nil
	})
	received, back := l.received(), 0
	for i := 1; i < len(received); i++ {
		if received[i] < received[i-1] {
			back++
		}
	}
	if back > 1 {
		t.Errorf("it received %v: it went back %d times for one change of leader", received, back)
	}
}

// A leader that stops gracefully records how far the webhooks are: the next one
// delivers nothing twice.
func TestAWebhookIsToldNothingTwiceWhenItsLeaderStopsInOrder(t *testing.T) {
	f := newFleet(t, 3, nil)
	c := f.client()
	l := newLedger(t)
	if _, err := c.Webhooks().Set(t.Context(), interrex.WebhookRequest{Webhook: interrex.Webhook{Name: "audit", URL: l.url, When: interrex.WebhookAfter}}); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		if _, err := c.Leases().Claim(t.Context(), interrex.ClaimRequest{Key: key(fmt.Sprint("a/", i)), Holder: "ann", TTL: time.Hour}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the webhook is notified", func() error { return want(len(l.received()), 20) })
	leader := f.leader()
	out, code := f.says(leader, "agent", "drain")
	if code != 0 {
		t.Fatalf("drain: %s", out)
	}
	f.exit(leader)
	if _, err := c.Leases().Claim(t.Context(), interrex.ClaimRequest{Key: key("a/last"), Holder: "ann", TTL: time.Hour}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the webhook is notified again", func() error { return want(len(l.received()), 21) })
	if received := l.received(); !slices.IsSorted(received) || len(slices.Compact(received)) != 21 {
		t.Errorf("it received %v", received)
	}
}

func want(got, want int) error {
	if got != want {
		return fmt.Errorf("%d, want %d", got, want)
	}
	return nil
}

// A webhook that hangs delays the operations that it is for, and neither other claims
// nor the extends of a lease that it is for.
func TestAWebhookThatHangsHoldsUpNobodyElse(t *testing.T) {
	f := newFleet(t, 3, nil)
	c := f.client()
	over := make(chan struct{})
	answer := sync.OnceFunc(func() { close(over) })
	t.Cleanup(answer)
	var asked atomic.Bool
	url := hookServer(t, func(http.ResponseWriter, *http.Request) { asked.Store(true); <-over })
	held, err := c.Leases().Claim(t.Context(), interrex.ClaimRequest{Key: key("slow/held"), Holder: "ann", TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Webhooks().Set(t.Context(), interrex.WebhookRequest{Webhook: interrex.Webhook{
		Name: "slow", URL: url, Prefixes: []string{"slow/"}, Timeout: limits.MaxWebhookTimeout,
	}}); err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 1)
	go func() {
		_, err := c.Leases().Claim(t.Context(), interrex.ClaimRequest{Key: key("slow/b"), Holder: "ann", TTL: time.Hour})
		failed <- err
	}()
	eventually(t, "the webhook is called", func() error {
		if !asked.Load() {
			return errors.New("not yet")
		}
		return nil
	})
	for i := range 100 {
		if _, err := c.Leases().Extend(t.Context(), interrex.ExtendRequest{Key: held.Lease.Key, Token: held.Lease.Token}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Leases().Claim(t.Context(), interrex.ClaimRequest{Key: key(fmt.Sprint("fast/", i)), Holder: "ann", TTL: time.Hour}); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case err := <-failed: // on a slow machine the others take all of the hook's time
		if kind := interrex.KindOf(err); kind != interrex.ErrTimeout && kind != interrex.ErrVetoed && kind != interrex.ErrOutcomeUnknown {
			t.Errorf("what waits for the webhook is answered %v", err)
		}
	default:
		answer()
		if err := <-failed; err != nil {
			t.Errorf("the webhook has answered, and what waited for it is answered %v", err)
		}
	}
}

// The secrets of a webhook are in no log, feed, metric, report or status.
func TestTheSecretsOfAWebhookAreNotShown(t *testing.T) {
	f := newFleet(t, 1, func(_ int, c *config.Config) { c.Logging.Level, c.Logging.Config = "trace", "<root>=TRACE" })
	c := f.client()
	url := hookServer(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	var secrets []string
	for when, name := range map[interrex.WebhookWhen]string{interrex.WebhookBefore: "guard", interrex.WebhookAfter: "audit"} {
		answer, err := c.Webhooks().Set(t.Context(), interrex.WebhookRequest{Webhook: interrex.Webhook{
			Name: name, URL: url, When: when, Headers: map[string]string{"Authorization": "Bearer hidden"},
		}})
		if err != nil || answer.Secret == "" {
			t.Fatal(answer, err)
		}
		secrets = append(secrets, answer.Secret)
	}
	for i := range 6 {
		_, err := c.Leases().Claim(t.Context(), interrex.ClaimRequest{Key: key(fmt.Sprint("a/", i)), Holder: "ann", TTL: time.Hour})
		if !errors.Is(err, interrex.ErrVetoed) {
			t.Errorf("a claim is answered %v", err)
		}
	}
	f.alarms(0, "webhook-failing")
	var seen bytes.Buffer
	for _, args := range [][]string{
		{"webhook", "list", "-o", "json"}, {"webhook", "test", "guard"}, {"status"}, {"agent", "report", "-o", "json"}, {"settings", "get"},
	} {
		out, _ := f.says(0, args...)
		seen.WriteString(out)
	}
	seen.WriteString(fetch(t, http.DefaultClient, "http://"+f.members[0].config.API.Listen+"/metrics"))
	seen.WriteString(f.tail(0, 1<<20))
	if !strings.Contains(seen.String(), "webhook-failing") || !strings.Contains(seen.String(), "guard") {
		t.Error("what is looked through says nothing of the webhooks")
	}
	for _, secret := range append(secrets, "Bearer hidden") {
		if strings.Contains(seen.String(), secret) {
			t.Error("a secret is shown")
		}
	}
}
