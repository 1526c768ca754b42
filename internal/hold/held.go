package hold

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/backoff"
)

// held is one lease that is held until over.
type held struct {
	k      *Keeper
	key    interrex.Key
	token  interrex.Token
	ttl    time.Duration
	margin time.Duration
	ctx    context.Context // a leaseContext
	cancel context.CancelCauseFunc
	kept   chan struct{} // closed when nothing extends it any more

	giving sync.Mutex // held while the lease is given up

	mu       sync.Mutex
	deadline time.Duration // by the Keeper's clock; it only grows
	gone     bool          // the cluster has said that the token is dead
	failed   error         // why the extends since the last good one failed: the one that says most
}

func newHeld(k *Keeper, r interrex.ClaimRequest, g grant) *held {
	return &held{
		k: k, key: r.Key, token: g.Lease.Token, ttl: r.TTL, margin: Margin(r.TTL),
		kept: make(chan struct{}), deadline: g.sent + r.TTL,
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

// Check returns the cause of the context's end, after a look at the clock: see
// interrex.Held.
func (h *held) Check() error { return context.Cause(h.ctx) }

// Deadline is a ttl after the attempt that was answered last was sent: see
// interrex.Held.
func (h *held) Deadline() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	// Now comes first: a pause between the two clocks makes it earlier.
	return time.Now().Add(h.deadline - h.k.config.Clock.Now())
}

// leaseContext is the context of a hold. A process that was paused runs on before
// any timer has ended that context, so each of its methods looks at the clock first.
type leaseContext struct {
	context.Context
	held *held
}

// Err looks at the clock. So does context.Cause, which calls it.
func (c *leaseContext) Err() error {
	c.look()
	return c.Context.Err()
}

// Done looks at the clock.
func (c *leaseContext) Done() <-chan struct{} {
	c.look()
	return c.Context.Done()
}

// look ends the context when its time is over.
func (c *leaseContext) look() {
	if c.Context.Err() == nil && c.held.left() <= 0 {
		c.held.cancel(c.held.lost())
	}
}

// left is the time until the context has to end.
func (h *held) left() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.deadline - h.margin - h.k.config.Clock.Now()
}

// keeping is what extends one hold: it lives in one goroutine.
type keeping struct {
	*held
	attempts *attempts[interrex.LeaseAnswer]
	extend   time.Duration // the time of the next extend
	failures int
}

// keep extends the lease every third of the ttl until the hold is over.
//
// Go's timers stand still while the machine sleeps and the Keeper's clock does
// not: no wait is longer than a quarter of the margin, or a second, so that a
// hold whose time ran out meanwhile ends soon after the machine wakes up, also for
// those who only wait on its context.
func (h *held) keep() {
	defer close(h.kept)
	defer h.cancel(nil)
	p := keeping{held: h, attempts: newAttempts[interrex.LeaseAnswer](h.k.config.Clock)}
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
		case a := <-p.attempts.heard:
			p.attempts.take()
			p.hear(a)
		case <-timer.C:
		}
	}
}

// attempt extends when it is time.
func (p *keeping) attempt() {
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

// hear takes the answer of an extend: it moves the deadline by the send time of
// its own attempt, ends the hold when the token is dead, and else tries again
// within the deadline.
func (p *keeping) hear(a attempt[interrex.LeaseAnswer]) {
	now := p.k.config.Clock.Now()
	switch {
	case p.ctx.Err() != nil: // given up or over meanwhile: the token is not believed again
	case a.err == nil:
		if p.failures > 0 {
			p.k.config.Logger.Infof("the lease %s under token %d is extended again", p.key, p.token)
		}
		p.failures = 0
		p.extended(a.sent)
	case errors.Is(a.err, interrex.ErrNotHeld):
		p.setGone()
		p.cancel(a.err)
	default:
		if p.fail(a.err); p.failures == 0 {
			p.k.config.Logger.Warningf("the lease %s under token %d cannot be extended: %v; unless it can be, its work is told to stop in %s",
				p.key, p.token, a.err, interrex.FormatDuration(max(p.left(), 0).Round(time.Second/10)))
		}
		pause := max(backoff.Next(minPause, p.ttl/6, p.failures), interrex.RetryAfter(a.err))
		p.extend = min(p.extend, now+pause)
		p.failures++
		p.k.config.Logger.Debugf("cannot extend %s: %v", p.key, a.err)
	}
}

// extended moves the deadline to a ttl after an extend was sent.
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
	h.failed = tellsMore(h.failed, err)
}

// lost is why a hold ended that nobody ended.
func (h *held) lost() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	e := interrex.Errorf(interrex.KindNotHeld, "lease %s under token %d was not extended in time", h.key, h.token)
	if h.failed != nil {
		e.Message += ": " + h.failed.Error()
	}
	return e.WithCause(h.failed)
}
