package hold

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/interrex/interrex"
)

// held is one lease that is held until over.
type held struct {
	k      *Keeper
	key    interrex.Key
	token  interrex.Token
	ttl    time.Duration
	margin time.Duration
	ctx    context.Context
	cancel context.CancelCauseFunc
	kept   chan struct{} // closed when nothing extends it any more

	giving sync.Mutex // held while the lease is given up

	mu       sync.Mutex
	deadline time.Duration // by the Keeper's clock; it only grows
	gone     bool          // the cluster has said that the token is dead
}

func newHeld(k *Keeper, r interrex.ClaimRequest, g grant) *held {
	return &held{
		k: k, key: r.Key, token: g.Lease.Token, ttl: r.TTL, margin: Margin(r.TTL),
		kept: make(chan struct{}), deadline: g.sent + r.TTL,
	}
}

// Key gives the lease's key.
func (h *held) Key() interrex.Key { return h.key }

// Token gives the token under which the lease is held.
func (h *held) Token() interrex.Token { return h.token }

// Context ends a margin before the deadline: see interrex.Held. Its cause is an
// *interrex.Error when the lease was lost, else ErrReleased, ErrClosed or the
// cause of the context that Hold was given.
func (h *held) Context() context.Context { return h.ctx }

// Deadline is when the work must have ended: half a margin after the context,
// half a margin before anybody else can be granted the lease.
func (h *held) Deadline() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return time.Now().Add(h.deadline - h.margin/2 - h.k.config.Clock.Now())
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
	last     error // why: of the extends since the last one that did not fail, the one that says most
}

// keep extends the lease every third of the ttl until the hold is over.
//
// Go's timers stand still while the machine sleeps and the Keeper's clock does
// not: no wait is longer than a quarter of the margin, or a second, so that a
// hold whose time ran out meanwhile ends soon after the machine wakes up.
func (h *held) keep() {
	defer close(h.kept)
	defer h.cancel(nil)
	p := keeping{held: h, attempts: newAttempts[interrex.LeaseAnswer](h.k.config.Clock)}
	p.extend = h.deadline - h.ttl + h.ttl/3
	defer p.attempts.close()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		left := h.left()
		if left <= 0 {
			h.cancel(p.lost())
			return
		}
		p.attempt()
		timer.Reset(min(left, p.extend-h.k.config.Clock.Now(), h.margin/4, time.Second))
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
	case p.ctx.Err() != nil: // given up meanwhile: the token is not believed again
	case a.err == nil:
		if p.failures > 0 {
			p.k.config.Logger.Infof("the lease %s under token %d is extended again", p.key, p.token)
		}
		p.failures, p.last = 0, nil
		p.extended(a.sent)
	case errors.Is(a.err, interrex.ErrNotHeld):
		p.setGone()
		p.cancel(a.err)
	default:
		if p.last = tellsMore(p.last, a.err); p.failures == 0 {
			p.k.config.Logger.Warningf("the lease %s under token %d cannot be extended: %v; unless it can be, its work is told to stop in %s",
				p.key, p.token, a.err, interrex.FormatDuration(max(p.left(), 0).Round(time.Second/10)))
		}
		pause := max(backoff(p.failures, p.ttl/6), retryAfter(a.err))
		p.extend = min(p.extend, now+pause)
		p.failures++
		p.k.config.Logger.Debugf("cannot extend %s: %v", p.key, a.err)
	}
}

// extended moves the deadline to a ttl after an extend was sent.
func (p *keeping) extended(sent time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deadline = max(p.deadline, sent+p.ttl)
}

// lost is why a hold ended that nobody ended.
func (p *keeping) lost() error {
	e := interrex.Errorf(interrex.KindNotHeld, "lease %s under token %d was not extended in time", p.key, p.token)
	if p.last != nil {
		e.Message += ": " + p.last.Error()
	}
	return e.WithCause(p.last)
}
