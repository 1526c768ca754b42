package hookcaller

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/webhook"
)

// Question is the body of a call before an operation or a group enters the log.
type Question struct {
	Webhook string    `json:"webhook"`
	Agent   string    `json:"agent"`
	Time    time.Time `json:"time"`
	// Caller is the authenticated name; empty on an open API.
	Caller    string `json:"caller"`
	RequestID string `json:"request_id"`
	Attempt   uint32 `json:"attempt"`
	// Fence is the lease that the operations depend on; absent: none.
	Fence *Fence `json:"fence,omitempty"`
	// Operations are applied all, or none.
	Operations []Operation `json:"operations"`
}

// Operation is an operation of a Question.
type Operation struct {
	// Method is SERVICE/METHOD of the API.
	Method string `json:"method"`
	// Kind is the kind of event that the operation requests.
	Kind string `json:"kind"`
	Key  string `json:"key"`
	// Request is the method's request, without what is elsewhere in the Question.
	Request json.RawMessage `json:"request"`
}

// Fence is the lease that an operation depends on.
type Fence struct {
	Key   string         `json:"key"`
	Token interrex.Token `json:"token,string"`
}

// Call is the calls of all hooks of one Question.
type Call struct {
	done chan struct{}

	mu   sync.Mutex
	left int
	err  error // the first veto
}

// Ask calls hooks concurrently. It does not wait: see Call.Wait. A hook whose
// breaker is open is not called; its policy applies.
//
// Errors: ErrOverloaded if too many calls are in flight; ErrUnavailable if this
// agent is stopping.
func (c *Caller) Ask(hooks []*webhook.Hook, q Question) (*Call, error) {
	call := &Call{done: make(chan struct{}), left: len(hooks)}
	now := c.config.Clock.Now()
	var asked []*webhook.Hook
	var policies []func()
	for _, h := range hooks {
		b := c.breaker(h)
		if b.enter(now) {
			asked = append(asked, h)
			continue
		}
		policies = append(policies, func() { call.answered(c.judge(h, "", b.why(now))) })
	}
	taken, err := c.take(asked)
	if err != nil {
		for _, h := range asked {
			c.breaker(h).abandoned()
		}
		return nil, err
	}
	for _, answer := range policies {
		answer()
	}
	q.Agent, q.Time = c.config.Agent, now.UTC()
	for i, h := range asked {
		go func() {
			defer c.give(taken[i])
			call.answered(c.ask(h, q))
		}()
	}
	return call, nil
}

// take reserves a call of each hook, or none. The breakers count them.
func (c *Caller) take(hooks []*webhook.Hook) (taken []*breaker, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errStops()
	}
	if c.calls+len(hooks) > MaxCalls {
		return nil, c.full(c.calls, "webhooks")
	}
	for _, h := range hooks {
		b := c.breakerLocked(h)
		if b.calls >= MaxHookCalls {
			return nil, c.full(b.calls, "webhook "+h.Name)
		}
		taken = append(taken, b)
	}
	for _, b := range taken {
		b.calls++
	}
	c.calls += len(hooks)
	c.work.Add(len(hooks))
	c.config.Metrics.inFlight.Set(float64(c.calls))
	return taken, nil
}

func (c *Caller) full(calls int, of string) error {
	err := interrex.Errorf(interrex.ErrOverloaded, "%d calls of %s are in flight on agent %s, which is the limit; nothing has happened, retry later", calls, of, c.config.Agent)
	err.RetryAfter = retryAfter
	return err
}

func (c *Caller) give(taken *breaker) {
	c.mu.Lock()
	defer c.mu.Unlock()
	taken.calls--
	c.calls--
	c.config.Metrics.inFlight.Set(float64(c.calls))
	c.work.Done()
}

func errStops() error {
	err := interrex.Errorf(interrex.ErrUnavailable, "cannot call webhooks: this agent is stopping; nothing has happened, retry at another agent")
	err.RetryAfter = retryAfter
	return err
}

// ask makes one call, and returns the hook's verdict.
func (c *Caller) ask(h *webhook.Hook, q Question) error {
	q.Webhook = h.Name
	body, err := json.Marshal(q)
	if err != nil {
		c.breaker(h).abandoned()
		return interrex.Errorf(interrex.ErrInvalid, "request: it cannot be shown to webhook %s: %v", h.Name, err)
	}
	a := c.post(c.ctx, h, body, nil)
	if a.err != nil && c.ctx.Err() != nil {
		return errStops()
	}
	failure := ""
	if a.err != nil {
		failure = a.problem()
	}
	c.note(h, failure)
	if failure != "" {
		return c.judge(h, "", failure)
	}
	return c.judge(h, a.problem(), "")
}

// note records the outcome of a call in the breaker, and logs a change of that.
func (c *Caller) note(h *webhook.Hook, problem string) {
	switch opened, closed := c.breaker(h).left(c.config.Clock.Now(), problem); {
	case opened:
		c.config.Logger.Warningf("webhook %s has failed %d times in a row: %s", h.Name, openAfter, problem)
	case closed:
		c.config.Logger.Infof("webhook %s works again", h.Name)
	}
}

// judge returns the verdict for a hook's refusal, or for the failure of its call; nil:
// the operation may proceed.
func (c *Caller) judge(h *webhook.Hook, refusal, failure string) error {
	if refusal == "" && (failure == "" || h.OnFailure == interrex.WebhookAllow) {
		c.config.Metrics.judged(h.Name, verdictAllowed)
		return nil
	}
	reason := refusal
	if failure != "" {
		reason = "it cannot be called: " + failure
	}
	if h.DryRun {
		c.config.Metrics.judged(h.Name, verdictDry)
		c.config.Logger.Infof("webhook %s would have vetoed (dry run): %s", h.Name, reason)
		return nil
	}
	c.config.Metrics.judged(h.Name, verdictVetoed)
	return vetoed(h, reason)
}

func vetoed(h *webhook.Hook, reason string) error {
	return interrex.Errorf(interrex.ErrVetoed, "webhook %s: %s", h.Name, reason)
}

// Unasked returns the verdict of hooks that cannot be called: their policies apply.
func Unasked(hooks []*webhook.Hook, why string) error {
	for _, h := range hooks {
		if h.OnFailure == interrex.WebhookRefuse && !h.DryRun {
			return vetoed(h, "it cannot be called: "+why)
		}
	}
	return nil
}

// answered records the verdict of one hook.
func (c *Call) answered(verdict error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = verdict
	}
	if c.left--; c.left == 0 {
		close(c.done)
	}
}

// Wait waits for all verdicts, and returns nil if no hook vetoes.
//
// Errors: ErrVetoed, with the hook's name and reason; ErrUnavailable if this agent
// is stopping; the cause of ctx if that ends first.
func (c *Call) Wait(ctx context.Context) error {
	select {
	case <-c.done:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}
