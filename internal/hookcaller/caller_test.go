package hookcaller

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/juju/clock"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/internal/silent"
	"github.com/interrex/interrex/internal/webhook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// notes keeps what is logged.
type notes struct {
	silent.Logger
	mu    sync.Mutex
	lines []string
}

func (n *notes) Warningf(format string, args ...any) { n.add(format, args) }
func (n *notes) Infof(format string, args ...any)    { n.add(format, args) }

func (n *notes) add(format string, args []any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lines = append(n.lines, fmt.Sprintf(format, args...))
}

func (n *notes) text() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Join(n.lines, "\n")
}

func newCaller(t testing.TB) (*Caller, *notes) {
	t.Helper()
	log := &notes{}
	c, err := New(Config{Agent: "n1", Version: "1.2", Clock: clock.WallClock, Logger: log, Metrics: NewMetrics()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, log
}

// hook is one of a server of a test.
func hook(url string, edit ...func(*webhook.Hook)) *webhook.Hook {
	h := &webhook.Hook{Secret: "0123456789abcdef", Revision: 1, Created: 1, Spec: webhook.Spec{
		Name: "guard", URL: url, When: interrex.WebhookBefore, OnFailure: interrex.WebhookRefuse, Timeout: limits.MaxWebhookTimeout,
		Headers: []webhook.Header{{Name: "Authorization", Value: "Bearer hidden"}},
	}}
	for _, change := range edit {
		change(h)
	}
	return h
}

func serve(t testing.TB, handle http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(handle)
	t.Cleanup(s.Close)
	return s.URL
}

func verdict(t testing.TB, c *Caller, hooks ...*webhook.Hook) error {
	t.Helper()
	call, err := c.Ask(hooks, Question{Caller: "ann", RequestID: "r", Operations: []Operation{
		{Method: "m", Kind: interrex.LeaseClaimed, Key: "a/b", Request: json.RawMessage(`{"key":"a/b"}`)},
	}})
	if err != nil {
		return err
	}
	return call.Wait(t.Context())
}

// hung returns a handler that answers only when the test is over.
func hung(t *testing.T) http.HandlerFunc {
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	return func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case <-over:
		case <-r.Context().Done():
		}
	}
}

// Whatever a hook does, its call ends, and ends as one thing.
func TestWhatAHookMayDo(t *testing.T) {
	const failed, refused = "failed", "refused"
	for name, c := range map[string]struct {
		do     http.HandlerFunc
		result string // empty: it is allowed
		want   string
	}{
		"allows": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }, "", ""},
		"says why": {func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "not\x07 on\na Friday", http.StatusUnprocessableEntity)
		}, refused, "it responded with 422: not on a Friday"},
		"answers 500": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, refused, "it responded with 500"},
		"redirects": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}, refused, "it responded with 307"},
		"talks for ever": {func(w http.ResponseWriter, _ *http.Request) {
			for {
				if _, err := w.Write(make([]byte, 4096)); err != nil {
					return
				}
			}
		}, "", ""},
		"hangs up": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, failed, "EOF"},
		"lies about its length": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write([]byte("short"))
		}, failed, "its response was cut short: unexpected EOF"},
		"hangs": {hung(t), failed, "no response within 100 ms"},
		"hangs amid its answer": {func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(200)
			_, _ = w.Write([]byte("well"))
			w.(http.Flusher).Flush()
			hung(t)(w, r)
		}, failed, "no response within 100 ms"},
		"changes the protocol": {func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				_, _ = conn.Write([]byte("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"))
				_, _ = io.Copy(io.Discard, conn) // until the caller hangs up
				_ = conn.Close()
			}
		}, refused, "it responded with 101"},
		"compresses a gigabyte": {func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
				w.WriteHeader(http.StatusTeapot)
			}
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write([]byte("this is no gzip"))
		}, "", ""},
		"speaks another language": {func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				_, _ = conn.Write([]byte("HELLO\r\n\r\n"))
				_ = conn.Close()
			}
		}, failed, "malformed HTTP"},
	} {
		t.Run(name, func(t *testing.T) {
			url := serve(t, c.do) + "/?key=hidden"
			short := func(h *webhook.Hook) {
				if strings.Contains(name, "hangs") && name != "hangs up" {
					h.Timeout = limits.MinWebhookTimeout
				}
			}
			caller, log := newCaller(t)
			err := verdict(t, caller, hook(url, short))
			if c.result == "" {
				if err != nil {
					t.Errorf("it is vetoed: %v", err)
				}
			} else if !errors.Is(err, interrex.ErrVetoed) || !strings.Contains(err.Error(), "webhook guard: ") || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want a veto with %q", err, c.want)
			}
			allow := func(h *webhook.Hook) { short(h); h.OnFailure = interrex.WebhookAllow }
			if err := verdict(t, caller, hook(url, allow)); (err == nil) != (c.result != refused) {
				t.Errorf("under allow: %v", err)
			}
			dry := func(h *webhook.Hook) { short(h); h.DryRun = true }
			if err := verdict(t, caller, hook(url, dry)); err != nil {
				t.Errorf("a dry run: %v", err)
			}
			if counted := (c.result != "") == strings.Contains(log.text(), "would have vetoed"); !counted {
				t.Errorf("after a dry run the log has %q", log.text())
			}
			if tried := caller.Test(t.Context(), hook(url, short)); (tried.Error != "") != (c.result == failed) || tried.Agent != "n1" || (tried.Status == 0) != (c.result == failed) {
				t.Errorf("Test = %+v", tried)
			}
			if err != nil && strings.Contains(err.Error(), "hidden") || strings.Contains(log.text(), "hidden") {
				t.Errorf("a secret is shown: %v, %s", err, log.text())
			}
		})
	}
}

func TestARedirectIsNotFollowed(t *testing.T) {
	var elsewhere atomic.Bool
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			elsewhere.Store(true)
			return
		}
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	})
	c, _ := newCaller(t)
	if err := verdict(t, c, hook(url+"/")); !errors.Is(err, interrex.ErrVetoed) || elsewhere.Load() {
		t.Errorf("%v, and it went elsewhere: %v", err, elsewhere.Load())
	}
}

func TestAServerThatIsNotTrustedIsNotAsked(t *testing.T) {
	var asked atomic.Bool
	s := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Store(true) }))
	defer s.Close()
	c, _ := newCaller(t)
	if err := verdict(t, c, hook(s.URL)); !errors.Is(err, interrex.ErrVetoed) || asked.Load() || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("%v, and it was asked: %v", err, asked.Load())
	}
}

func TestAQuestionHasWhatDecides(t *testing.T) {
	var got Question
	var header http.Header
	var body []byte
	c, _ := newCaller(t)
	h := hook(serve(t, func(_ http.ResponseWriter, r *http.Request) {
		body, _ = io.ReadAll(r.Body)
		header = r.Header
	}))
	if err := verdict(t, c, h); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(body, &got); err != nil || got.Webhook != "guard" || got.Agent != "n1" || got.Caller != "ann" || got.RequestID != "r" || got.Time.IsZero() {
		t.Errorf("the question is %s (%v)", body, err)
	}
	if op := got.Operations; len(op) != 1 || op[0].Kind != interrex.LeaseClaimed || op[0].Key != "a/b" || string(op[0].Request) != `{"key":"a/b"}` {
		t.Errorf("the operations are %+v", got.Operations)
	}
	if header.Get("Authorization") != "Bearer hidden" || header.Get("Content-Type") != "application/json" || header.Get("Interrex-Webhook") != "guard" || header.Get("User-Agent") != "interrex/1.2" {
		t.Errorf("the headers are %v", header)
	}
	var at int64
	var sum string
	if _, err := fmt.Sscanf(strings.ReplaceAll(header.Get(SignatureHeader), ",", " "), "t=%d v1=%s", &at, &sum); err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, []byte("0123456789abcdef"))
	fmt.Fprintf(mac, "%d.%s", at, body)
	if sum != hex.EncodeToString(mac.Sum(nil)) || time.Since(time.Unix(at, 0)) > time.Minute {
		t.Errorf("the signature is %s", header.Get(SignatureHeader))
	}
}

func TestAllHooksAreAskedAtOnceAndOneIsEnough(t *testing.T) {
	var both sync.WaitGroup
	both.Add(2)
	meet := func(w http.ResponseWriter, _ *http.Request) { both.Done(); both.Wait() }
	c, _ := newCaller(t)
	one, two := hook(serve(t, meet)), hook(serve(t, func(w http.ResponseWriter, r *http.Request) {
		meet(w, r)
		w.WriteHeader(403)
	}))
	two.Name = "other"
	if err := verdict(t, c, one, two); !errors.Is(err, interrex.ErrVetoed) || !strings.Contains(err.Error(), "webhook other: it responded with 403") {
		t.Errorf("%v", err)
	}
}

func TestTheFirstVetoIsTheAnswer(t *testing.T) {
	first, second := errors.New("first"), errors.New("second")
	call := &Call{done: make(chan struct{}), left: 4}
	for _, verdict := range []error{nil, first, second, nil} {
		call.answered(verdict)
	}
	if err := call.Wait(t.Context()); err != first {
		t.Errorf("%v", err)
	}
}

// One hook that hangs does not take the room of all.
func TestTooManyCallsAreOverloaded(t *testing.T) {
	c, _ := newCaller(t)
	url := serve(t, hung(t))
	h := hook(url)
	full := func(h *webhook.Hook, calls int, want string) {
		t.Helper()
		_, err := c.Ask([]*webhook.Hook{h}, Question{})
		var full *interrex.Error
		if !errors.As(err, &full) || full.Kind != interrex.ErrOverloaded || full.RetryAfter == 0 || c.Calls() != calls || !strings.Contains(err.Error(), want) {
			t.Errorf("%v with %d calls, want %d", err, c.Calls(), calls)
		}
	}
	fill := func(h *webhook.Hook) {
		t.Helper()
		for range MaxHookCalls {
			if _, err := c.Ask([]*webhook.Hook{h}, Question{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	fill(h)
	full(h, MaxHookCalls, "32 calls of webhook guard are")
	again := hook(url, func(h *webhook.Hook) { h.Revision++ })
	fill(again)
	full(hook(url, func(h *webhook.Hook) { h.Name = "third" }), MaxCalls, "64 calls of webhooks are")
	c.Close()
	if c.Calls() != 0 {
		t.Errorf("%d calls after Close", c.Calls())
	}
	if _, err := c.Ask([]*webhook.Hook{h}, Question{}); !errors.Is(err, interrex.ErrUnavailable) {
		t.Errorf("after Close: %v", err)
	}
}

// A stop of the agent is no failure of the hook, and no verdict.
func TestACallThatTheAgentEndsVetoesNothing(t *testing.T) {
	c, _ := newCaller(t)
	entered := make(chan struct{})
	wait := hung(t)
	h := hook(serve(t, func(w http.ResponseWriter, r *http.Request) { close(entered); wait(w, r) }))
	call, err := c.Ask([]*webhook.Hook{h}, Question{})
	if err != nil {
		t.Fatal(err)
	}
	<-entered
	c.Close()
	if err := call.Wait(t.Context()); !errors.Is(err, interrex.ErrUnavailable) || c.Health(h).Failures != 0 {
		t.Errorf("%v after %d failures", err, c.Health(h).Failures)
	}
}

func TestAWaitEndsWithItsContext(t *testing.T) {
	c, _ := newCaller(t)
	call, err := c.Ask([]*webhook.Hook{hook(serve(t, hung(t)))}, Question{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	mine := errors.New("mine")
	cancel(mine)
	if err := call.Wait(ctx); !errors.Is(err, mine) {
		t.Error(err)
	}
}

func TestABreakerOpensAnswersByThePolicyAndCloses(t *testing.T) {
	var works atomic.Bool
	var calls atomic.Int64
	url := serve(t, func(http.ResponseWriter, *http.Request) {
		if calls.Add(1); !works.Load() {
			panic(http.ErrAbortHandler)
		}
	})
	c, log := newCaller(t)
	refuse, allow := hook(url), hook(url, func(h *webhook.Hook) { h.OnFailure = interrex.WebhookAllow })
	for range openAfter {
		_ = verdict(t, c, refuse)
	}
	if h := c.Health(refuse); h.Breaker == Closed || h.Failures != openAfter || h.Error == "" || h.Since.IsZero() || !strings.Contains(log.text(), "has failed 5 times") {
		t.Errorf("after %d failures: %+v, %q", openAfter, h, log.text())
	}
	c.breaker(refuse).until = time.Now().Add(time.Hour)
	before := calls.Load()
	if err := verdict(t, c, refuse); !errors.Is(err, interrex.ErrVetoed) || !strings.Contains(err.Error(), "it is not called after 5 consecutive failures, the last: EOF") {
		t.Errorf("open, under refuse: %v", err)
	}
	if err := verdict(t, c, allow); err != nil {
		t.Errorf("open, under allow: %v", err)
	}
	if h := c.Health(refuse); calls.Load() != before || h.Breaker != Open {
		t.Errorf("an open breaker let %d calls through, %+v", calls.Load()-before, h)
	}
	c.breaker(refuse).until = time.Time{}
	_ = verdict(t, c, refuse)
	if h := c.Health(refuse); h.Failures != openAfter+1 || calls.Load() != before+1 || c.breaker(refuse).pause != 2*minOpen {
		t.Errorf("after a failed try: %+v", h)
	}
	works.Store(true)
	c.breaker(refuse).until = time.Time{}
	if err := verdict(t, c, refuse); err != nil || c.Health(refuse).Breaker != Closed || !strings.Contains(log.text(), "works again") {
		t.Errorf("after a good try: %v, %+v", err, c.Health(refuse))
	}
	again := hook(url)
	again.Revision = 2
	c.breaker(refuse).failures = 3
	if h := c.Health(again); h.Failures != 0 {
		t.Errorf("a hook that was set again begins with %+v", h)
	}
	c.Forget(nil)
	if len(c.breakers) != 0 {
		t.Error("a hook that is gone is not forgotten")
	}
}

func TestOneCallTriesWhetherAHookWorksAgain(t *testing.T) {
	b := &breaker{}
	at := time.Unix(0, 0)
	b.left(at.Add(-time.Hour), "x")
	for range openAfter - 1 {
		b.enter(at)
		b.left(at, "x")
	}
	if since := b.health(at).Since; !since.Equal(at.Add(-time.Hour)) {
		t.Errorf("it fails since %v", since)
	}
	if b.enter(at.Add(minOpen - 1)) {
		t.Error("it is called before its pause is over")
	}
	at = at.Add(minOpen)
	if !b.enter(at) || b.enter(at) || b.health(at).Breaker != HalfOpen {
		t.Error("not exactly one call is let through")
	}
	b.abandoned()
	if !b.enter(at) {
		t.Error("a call that was given up is the last")
	}
	for range 20 {
		b.left(at, "x")
	}
	if b.pause != maxOpen {
		t.Errorf("the pause is %v", b.pause)
	}
}

func TestASampleIsWhatTheHookIsFor(t *testing.T) {
	var body []byte
	var header http.Header
	c, _ := newCaller(t)
	h := hook(serve(t, func(_ http.ResponseWriter, r *http.Request) {
		body, _ = io.ReadAll(r.Body)
		header = r.Header
	}), func(h *webhook.Hook) { h.Kinds, h.Prefixes = []string{interrex.ResourceDeleted}, []string{"team/"} })
	if got := c.Test(t.Context(), h); got.Status != 200 || header.Get("Interrex-Test") != "true" {
		t.Errorf("%+v with %v", got, header)
	}
	var q Question
	if err := json.Unmarshal(body, &q); err != nil || q.Webhook != "guard" || q.Agent != "n1" || len(q.Operations) != 1 || q.Operations[0].Kind != interrex.ResourceDeleted || q.Operations[0].Key != "team/" {
		t.Errorf("one that is asked before gets %s, %v", body, err)
	}
	h.When = interrex.WebhookAfter
	c.Test(t.Context(), h)
	var d document
	if err := json.Unmarshal(body, &d); err != nil || d.Kind != interrex.ResourceDeleted || d.Key != "team/" || d.Tags == nil || strings.Contains(string(body), "operations") {
		t.Errorf("one that is told after gets %s, %v", body, err)
	}
	c.Close()
	if got := c.Test(t.Context(), h); got.Error != "this agent is stopping" {
		t.Errorf("after Close: %+v", got)
	}
}

func TestATestEndsWithItsAgent(t *testing.T) {
	c, _ := newCaller(t)
	wait := hung(t)
	h := hook(serve(t, func(w http.ResponseWriter, r *http.Request) { go c.Close(); wait(w, r) }))
	if got := c.Test(t.Context(), h); !strings.Contains(got.Error, "canceled") {
		t.Errorf("%+v", got)
	}
}

func TestCallsAndVerdictsAreCounted(t *testing.T) {
	var status atomic.Int64
	status.Store(200)
	url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if status.Load() == 0 {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(int(status.Load()))
	})
	c, _ := newCaller(t)
	for _, s := range []int64{200, 403, 403, 0, 0, 0} {
		status.Store(s)
		_ = verdict(t, c, hook(url))
	}
	_ = verdict(t, c, hook(url, func(h *webhook.Hook) { h.DryRun = true }))
	counts := func() (got string) {
		registry := prometheus.NewPedanticRegistry()
		registry.MustRegister(c.config.Metrics)
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				for _, l := range m.GetLabel() {
					got += l.GetValue() + " "
				}
				got += fmt.Sprint(m.GetHistogram().GetSampleCount(), m.GetCounter().GetValue(), m.GetGauge().GetValue(), "\n")
			}
		}
		return got
	}
	c.Close() // no call is under way
	const none, want = "0 0 0\n", "0 0 0\nguard failed 4 0 0\nguard ok 1 0 0\nguard refused 2 0 0\nguard allowed 0 1 0\nguard dry-run 0 1 0\nguard vetoed 0 5 0\n"
	if got := counts(); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	c.Forget(nil)
	if got := counts(); got != none {
		t.Errorf("of a hook that is gone: %s", got)
	}
}

// A call that is refused since too many are in flight has not tried whether
// the hook works again.
func TestAnOverloadedCallerLeavesABreakerToTheNext(t *testing.T) {
	c, _ := newCaller(t)
	url := serve(t, hung(t))
	busy, h := hook(url), hook("http://x/", func(h *webhook.Hook) { h.Name = "other" })
	for i := range MaxCalls - 1 {
		one := busy
		if i < MaxHookCalls {
			one = hook(url, func(h *webhook.Hook) { h.Name = "another" })
		}
		if _, err := c.Ask([]*webhook.Hook{one}, Question{}); err != nil {
			t.Fatal(err)
		}
	}
	c.breaker(h).failures = openAfter
	if _, err := c.Ask([]*webhook.Hook{h, busy}, Question{}); !errors.Is(err, interrex.ErrOverloaded) { // room for one of two
		t.Fatal(err)
	}
	if c.Calls() != MaxCalls-1 || !c.breaker(h).enter(time.Now()) {
		t.Errorf("%d calls, and nobody may try", c.Calls())
	}
}

func TestHooksThatNobodyCanAskAnswerByTheirPolicy(t *testing.T) {
	allow := hook("http://x/", func(h *webhook.Hook) { h.OnFailure = interrex.WebhookAllow })
	dry := hook("http://x/", func(h *webhook.Hook) { h.DryRun = true })
	if err := Unasked([]*webhook.Hook{allow, dry}, "off"); err != nil {
		t.Error(err)
	}
	if err := Unasked([]*webhook.Hook{allow, hook("http://x/")}, "off"); !errors.Is(err, interrex.ErrVetoed) {
		t.Error(err)
	}
}

func TestCallsThatAreOverMakeRoomForOthers(t *testing.T) {
	c, _ := newCaller(t)
	h := hook(serve(t, func(http.ResponseWriter, *http.Request) {}))
	for n := range MaxCalls + 1 {
		if err := verdict(t, c, h); err != nil {
			t.Fatalf("call %d: %v", n, err)
		}
	}
}

func TestCallsInFlightAreCounted(t *testing.T) {
	c, _ := newCaller(t)
	registry := prometheus.NewRegistry()
	registry.MustRegister(c.config.Metrics.inFlight)
	shown := func() float64 {
		t.Helper()
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		return families[0].Metric[0].GetGauge().GetValue()
	}
	h := hook(serve(t, hung(t)))
	for n := range 2 {
		if _, err := c.Ask([]*webhook.Hook{h}, Question{}); err != nil || shown() != float64(n+1) {
			t.Errorf("call %d: %v, and %v are in flight", n, err, shown())
		}
	}
	c.Close()
	if n := shown(); n != 0 {
		t.Errorf("after Close %v are in flight", n)
	}
}

// A try that was not made leaves the next one to try.
func TestAQuestionThatCannotBeShownSaysNothingOfTheHook(t *testing.T) {
	c, _ := newCaller(t)
	h := hook(serve(t, func(http.ResponseWriter, *http.Request) {}))
	b := c.breaker(h)
	b.failures = openAfter // half-open
	call, err := c.Ask([]*webhook.Hook{h}, Question{Operations: []Operation{{Kind: interrex.LeaseClaimed, Key: "a/b", Request: json.RawMessage("{")}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := call.Wait(t.Context()); interrex.KindOf(err) != interrex.ErrInvalid || c.Health(h).Failures != openAfter {
		t.Errorf("%v, %+v", err, c.Health(h))
	}
	if err := verdict(t, c, h); err != nil || c.Health(h).Breaker != Closed {
		t.Errorf("%v, %+v", err, c.Health(h))
	}
}
