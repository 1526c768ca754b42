// Package hookcaller owns the calls of webhooks: those before operations, whose
// response may be a veto, those after events, and tests of a hook.
package hookcaller

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/juju/clock"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/internal/webhook"
	"github.com/interrex/interrex/internal/wording"
)

// MaxCalls is the maximum number of calls before operations that an agent makes at
// one time, and MaxHookCalls that of one hook, so that a hook that hangs leaves room
// for the others.
const (
	MaxCalls     = 64
	MaxHookCalls = 32
)

const (
	maxAnswer = 64 << 10 // bytes of an answer that are read
	maxReason = 256      // bytes of an answer that are shown
)

// retryAfter is the pause before a retry after ErrOverloaded or ErrUnavailable.
const retryAfter = 100 * time.Millisecond

// Config configures a Caller.
type Config struct {
	Agent   string // its ID
	Version string
	Clock   clock.Clock
	Logger  interrex.Logger
	Metrics *Metrics
}

// Validate returns an error that names the field that is not valid.
func (c Config) Validate() error {
	switch {
	case c.Agent == "":
		return errors.New("empty Agent not valid")
	case c.Clock == nil:
		return errors.New("nil Clock not valid")
	case c.Logger == nil:
		return errors.New("nil Logger not valid")
	case c.Metrics == nil:
		return errors.New("nil Metrics not valid")
	}
	return nil
}

// Caller makes the calls of one agent. Close ends them.
type Caller struct {
	config    Config
	client    *http.Client
	transport *http.Transport
	ctx       context.Context
	end       context.CancelFunc

	mu       sync.Mutex
	closed   bool
	calls    int // before operations, in flight
	breakers map[string]*breaker
	work     sync.WaitGroup
}

// New returns a Caller.
func New(c Config) (*Caller, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("cannot call webhooks: %w", err)
	}
	t := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: limits.MaxWebhookTimeout, KeepAlive: 30 * time.Second}).DialContext,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true, // an answer is as large as what is read of it
		MaxIdleConns:           MaxCalls,
		MaxIdleConnsPerHost:    MaxCalls / 2,
		IdleConnTimeout:        time.Minute,
		MaxResponseHeaderBytes: maxAnswer,
	}
	caller := &Caller{config: c, transport: t, breakers: map[string]*breaker{}}
	caller.client = &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	caller.ctx, caller.end = context.WithCancel(context.Background())
	return caller, nil
}

// Close ends all calls and waits for them. It may be called again.
func (c *Caller) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.end()
	c.work.Wait()
	c.transport.CloseIdleConnections()
}

// Calls returns the number of calls before operations that are in flight.
func (c *Caller) Calls() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls
}

// Health returns the state of a hook's calls.
func (c *Caller) Health(h *webhook.Hook) interrex.WebhookHealth {
	return c.breaker(h).health(c.config.Clock.Now())
}

// breaker returns a hook's breaker. A hook that was set again has a new one.
func (c *Caller) breaker(h *webhook.Hook) *breaker {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.breakerLocked(h)
}

func (c *Caller) breakerLocked(h *webhook.Hook) *breaker {
	b := c.breakers[h.Name]
	if b == nil || b.revision < h.Revision {
		b = &breaker{revision: h.Revision}
		c.breakers[h.Name] = b
	}
	return b
}

// Forget drops the breakers and metrics of all other hooks.
func (c *Caller) Forget(present []*webhook.Hook) {
	names := map[string]bool{}
	for _, h := range present {
		names[h.Name] = true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for name := range c.breakers {
		if !names[name] {
			delete(c.breakers, name)
			c.config.Metrics.forget(name)
		}
	}
}

// answer is the outcome of a call.
type answer struct {
	status int
	body   string // its beginning, without control characters
	err    error  // why there was no response
	took   time.Duration
}

func (a answer) ok() bool { return a.err == nil && a.status >= 200 && a.status < 300 }

// problem returns why the call failed; "" if it did not.
func (a answer) problem() string {
	switch {
	case a.err != nil:
		return a.err.Error()
	case a.ok():
		return ""
	case a.body == "":
		return fmt.Sprintf("it responded with %d", a.status)
	}
	return fmt.Sprintf("it responded with %d: %s", a.status, a.body)
}

// post makes one call. Its timeout bounds all of it.
func (c *Caller) post(ctx context.Context, h *webhook.Hook, body []byte, more http.Header) (a answer) {
	ctx, cancel := context.WithTimeout(ctx, h.Timeout)
	defer cancel()
	began := c.config.Clock.Now()
	a.status, a.body, a.err = c.exchange(ctx, h, body, more, began)
	a.took = c.config.Clock.Now().Sub(began)
	if a.err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		a.err = fmt.Errorf("no response within %s", wording.Rounded(h.Timeout))
	}
	c.config.Metrics.called(h.Name, a)
	return a
}

func (c *Caller) exchange(ctx context.Context, h *webhook.Hook, body []byte, more http.Header, now time.Time) (status int, text string, err error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, h.URL, bytes.NewReader(body))
	if err != nil {
		return 0, "", plain(err)
	}
	q.Header.Set("Content-Type", "application/json")
	q.Header.Set("User-Agent", "interrex/"+c.config.Version)
	for _, header := range h.Headers {
		q.Header.Set(header.Name, string(header.Value))
	}
	for name, values := range more {
		q.Header[name] = values
	}
	q.Header.Set("Interrex-Webhook", h.Name)
	q.Header.Set(SignatureHeader, Sign(string(h.Secret), now, body))
	response, err := c.client.Do(q)
	if err != nil {
		return 0, "", plain(err)
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusSwitchingProtocols { // ctx does not end the connection after it
		return response.StatusCode, "", nil
	}
	read, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return 0, "", fmt.Errorf("its response was cut short: %w", plain(err))
	}
	return response.StatusCode, wording.Line(string(read), maxReason), nil
}

// plain removes the URL from an error: its query may be a secret.
func plain(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

// Test sends a sample to a hook.
func (c *Caller) Test(ctx context.Context, h *webhook.Hook) interrex.WebhookTest {
	t := interrex.WebhookTest{Agent: c.config.Agent}
	if !c.begin() {
		t.Error = "this agent is stopping"
		return t
	}
	defer c.work.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()
	a := c.post(ctx, h, c.sample(h), http.Header{"Interrex-Test": {"true"}})
	t.Status, t.Duration, t.Body = a.status, a.took, a.body
	if a.err != nil {
		t.Error = a.err.Error()
	}
	return t
}

// begin registers a call for which Close waits; false if the Caller is closed.
func (c *Caller) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.work.Add(1)
	return true
}

func revisionText(r interrex.Revision) string { return strconv.FormatUint(uint64(r), 10) }
