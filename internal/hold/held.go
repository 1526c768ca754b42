package hold

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/backoff"
	"github.com/interrex/interrex/internal/wording"
)

// held is the hold of one lease.
type held struct {
	k      *Keeper
	key    interrex.Key
	token  interrex.Token
	ttl    time.Duration
	margin time.Duration
	ctx    context.Context // a leaseContext
	cancel context.CancelCauseFunc
	done   chan struct{} // closed when extendLoop has returned

	releasing sync.Mutex // held while the lease is released or transferred

	mu       sync.Mutex
	deadline time.Duration // by the Keeper's clock; it only grows
	gone     bool          // the cluster has answered that the token is not in force
	failed   error         // of the failed extends since the last success, the most specific one
}

func newHeld(k *Keeper, r interrex.ClaimRequest, g grant) *held {
	return &held{
		k: k, key: r.Key, token: g.Lease.Token, ttl: r.TTL, margin: Margin(r.TTL),
		done: make(chan struct{}), deadline: g.sent + r.TTL,
	}
}

// Key returns the lease's key.
func (h *held) Key() interrex.Key { return h.key }

// Token returns the token under which the lease is held.
func (h *held) Token() interrex.Token { return h.token }

// Context ends a margin before the deadline: see interrex.Held. Its cause is an
// *interrex.Error when the lease was lost, else ErrReleased, ErrClosed or the
// cause of the context that Hold was given.
func (h *held) Context() context.Context { return h.ctx }

// Check checks the clock, and returns the cause of the context's end: see
// interrex.Held.
func (h *held) Check() error { return context.Cause(h.ctx) }

// Deadline is one ttl after the send time of the last successful attempt: see
// interrex.Held.
func (h *held) Deadline() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	// time.Now is read first: a pause between the two clocks makes the result earlier.
	return time.Now().Add(h.deadline - h.k.config.Clock.Now())
}

// leaseContext is the context of a hold. A process that was paused may run before a
// timer has ended that context, so each method checks the clock first.
type leaseContext struct {
	context.Context
	held *held
}

// Err checks the clock. So does context.Cause, which calls it.
func (c *leaseContext) Err() error {
	c.checkClock()
	return c.Context.Err()
}

// Done checks the clock.
func (c *leaseContext) Done() <-chan struct{} {
	c.checkClock()
	return c.Context.Done()
}

// checkClock ends the context if its time is over.
func (c *leaseContext) checkClock() {
	if c.Context.Err() == nil && c.held.left() <= 0 {
		c.held.cancel(c.held.lost())
	}
}

// left returns the time until the context must end.
func (h *held) left() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.deadline - h.margin - h.k.config.Clock.Now()
}

// extending extends one hold. It is used by one goroutine.
type extending struct {
	*held
	attempts *attempts[interrex.LeaseAnswer]
	extend   time.Duration // the time of the next extend
	failures int
	warned   bool // of these failures
}

// extendLoop extends the lease every third of the ttl until the hold is over.
//
// Go's timers stop while the machine sleeps, and the Keeper's clock does not. So no
// wait is longer than a quarter of the margin, or a second: a hold whose time ran out
// meanwhile ends soon after the machine wakes up, also for goroutines that only wait
// on its context.
func (h *held) extendLoop() {
	defer close(h.done)
	defer h.cancel(nil)
	p := extending{held: h, attempts: newAttempts[interrex.LeaseAnswer](h.k.config.Clock)}
	p.extend = h.deadline - h.ttl + h.ttl/3
	defer p.attempts.close()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for h.ctx.Err() == nil {
		p.attempt()
		timer.Reset(min(h.left(), p.extend-h.k.config.Clock.Now(), h.margin/4, time.Second))
		select {
		case <-h.ctx.Done():
			return
		case a := <-p.attempts.answers:
			p.attempts.take()
			p.receive(a)
		case <-timer.C:
		}
	}
}

// attempt sends an extend if it is time.
func (p *extending) attempt() {
	now := p.k.config.Clock.Now()
	if now < p.extend {
		return
	}
	p.extend = now + p.ttl/3
	r := interrex.ExtendRequest{Key: p.key, Token: p.token, TTL: p.ttl}
	p.attempts.send(p.ctx, func(ctx context.Context, _ uint32) (interrex.LeaseAnswer, error) {
		return p.k.config.Backend.Extend(ctx, r)
	})
}

// receive handles the answer to an extend: it moves the deadline according to the
// attempt's send time, ends the hold if the token is not in force, and else schedules
// a retry.
func (p *extending) receive(a attempt[interrex.LeaseAnswer]) {
	now := p.k.config.Clock.Now()
	switch {
	case p.ctx.Err() != nil: // released or over meanwhile: it stays so
	case a.err == nil:
		if p.warned {
			p.k.config.Logger.Infof("lease %s under token %d: extended again", p.key, p.token)
		}
		p.failures, p.warned = 0, false
		p.extended(a.sent)
	case errors.Is(a.err, interrex.ErrNotHeld):
		p.setGone()
		p.cancel(a.err)
	default:
		p.fail(a.err)
		pause := max(backoff.Next(minPause, p.ttl/6, p.failures), interrex.RetryAfter(a.err))
		p.extend = min(p.extend, now+pause)
		p.failures++
		p.k.config.Logger.Debugf("cannot extend %s: %v", p.key, a.err)
		p.warn(a.err)
	}
}

// warn warns once that the lease may be lost. One agent that stops, out of several, is
// not a reason to.
func (p *extending) warn(err error) {
	if p.warned || p.failures < p.k.config.Agents && p.left() > p.ttl/2 {
		return
	}
	p.warned = true
	p.k.config.Logger.Warningf("cannot extend lease %s under token %d: %v; unless a retry succeeds, its work is told to stop in %s",
		p.key, p.token, err, wording.Rounded(max(p.left(), 0).Round(time.Second/10)))
}

// extended moves the deadline to one ttl after the send time of an extend.
func (h *held) extended(sent time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.deadline = max(h.deadline, sent+h.ttl)
	h.failed = nil
}

// fail records why an extend failed.
func (h *held) fail(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failed = moreSpecific(h.failed, err)
}

// lost returns why a hold was lost.
func (h *held) lost() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	e := interrex.Errorf(interrex.ErrNotHeld, "lease %s under token %d was not extended in time", h.key, h.token)
	if h.failed != nil {
		e.Message += ": " + h.failed.Error()
	}
	return e.WithCause(h.failed)
}
