package hold

import (
	"context"
	"time"

	"github.com/interrex/interrex"
)

// grant is a lease that was granted, and the send time of the attempt that the
// answer names: the deadline counts from there.
type grant struct {
	interrex.LeaseAnswer
	sent time.Duration
}

// claiming is one claim under way: one request id, many attempts.
type claiming struct {
	k        *Keeper
	request  interrex.ClaimRequest
	attempts *attempts[interrex.LeaseAnswer]
	sent     map[uint32]time.Duration // of the attempts whose grant would still be of use
	until    time.Duration            // no attempt is made from here on
	giveUp   time.Duration            // nothing is waited for from here on
	ask      time.Duration            // the time of the next attempt
	failures int                      // attempts in a row that failed
	made     int                      // attempts
	nothing  int                      // of them, those that are known to have done nothing
	last     error                    // of the newest one of these
}

// Claim claims, and stands in line for as long as r.Wait says: it asks again
// under one request id, at least every quarter of the ttl, and believes a
// refusal of its newest attempt alone. When ctx or its own timer ends first,
// the outcome is unknown, never held, unless nothing has happened. r.RequestID and r.Attempt are ignored:
// the Keeper counts.
//
// The answer is no deadline: who wants to hold the lease calls Hold.
func (k *Keeper) Claim(ctx context.Context, r interrex.ClaimRequest) (interrex.LeaseAnswer, error) {
	g, err := k.claim(ctx, r)
	return g.LeaseAnswer, err
}

func (k *Keeper) claim(ctx context.Context, r interrex.ClaimRequest) (grant, error) {
	if r.TTL == 0 {
		r.TTL = interrex.DefaultTTL
	}
	id, done, err := k.config.IDs.Open(r.Wait > 0)
	if err != nil {
		return grant{}, err
	}
	defer done()
	ctx, cancel := k.bound(ctx)
	defer cancel(nil)
	r.RequestID = id
	now := k.config.Clock.Now()
	c := &claiming{
		k: k, request: r,
		attempts: newAttempts[interrex.LeaseAnswer](k.config.Clock),
		sent:     map[uint32]time.Duration{},
		until:    now + r.Wait,
		giveUp:   now + r.Wait + grace(r.TTL),
		ask:      now,
	}
	if r.Wait == 0 { // a grant that is heard later is of no use
		c.until = now + r.TTL - Margin(r.TTL)
		c.giveUp = c.until
	}
	g, err := c.run(ctx)
	c.drop(g)
	return g, err
}

// grace is how long the answer to a wait that has run out may take.
func grace(ttl time.Duration) time.Duration {
	return min(max(ttl/2, 250*time.Millisecond), 5*time.Second)
}

func (c *claiming) run(ctx context.Context) (grant, error) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		now := c.k.config.Clock.Now()
		if now >= c.giveUp {
			return grant{}, c.unknown("no answer in time", nil)
		}
		if now >= c.ask && now < c.until {
			c.attempt(ctx)
		}
		wake := c.giveUp
		if now < c.until && c.ask < c.until {
			wake = min(wake, c.ask)
		}
		timer.Reset(wake - now)
		select {
		case <-ctx.Done():
			return grant{}, c.unknown("its caller has gone", context.Cause(ctx))
		case a := <-c.attempts.heard:
			c.attempts.take()
			if g, err, final := c.hear(a); final {
				return g, err
			}
		case <-timer.C:
		}
	}
}

// attempt asks once more, and plans the next: half to the whole of a quarter of
// the ttl later, so that three may be lost before the leader passes over us.
func (c *claiming) attempt(ctx context.Context) {
	r := c.request
	now := c.k.config.Clock.Now()
	if r.Wait > 0 {
		r.Wait = c.until - now
	}
	c.ask = now + jitter(r.TTL/4)
	t, sent := c.attempts.send(ctx, func(ctx context.Context, number uint32) (interrex.LeaseAnswer, error) {
		r.Attempt = number
		return c.k.config.Backend.Claim(ctx, r)
	})
	if !sent {
		return
	}
	c.made++
	c.sent[t.number] = t.sent
	for number, at := range c.sent {
		if now >= at+r.TTL {
			delete(c.sent, number)
		}
	}
}

// hear takes one answer, and says whether it is the claim's.
func (c *claiming) hear(a attempt[interrex.LeaseAnswer]) (g grant, err error, final bool) {
	if a.err == nil {
		return c.granted(a.answer), nil, true
	}
	if interrex.KindOf(a.err).Retryable() {
		c.nothing, c.last = c.nothing+1, a.err
	}
	if !c.attempts.newest(a) {
		return grant{}, nil, false // a refusal is about its own attempt
	}
	kind := interrex.KindOf(a.err)
	if !again(kind) {
		return grant{}, a.err, true
	}
	c.k.config.Logger.Debugf("claim of %s, attempt %d: %v", c.request.Key, a.number, a.err)
	now := c.k.config.Clock.Now()
	c.ask = min(c.ask, now+max(backoff(c.failures, time.Second), retryAfter(a.err)))
	c.failures++
	return grant{}, nil, false
}

// granted dates a grant. One that names an attempt which is forgotten, or was
// never made, is dated so early that it gives nothing.
func (c *claiming) granted(a interrex.LeaseAnswer) grant {
	number := a.Attempt
	if c.request.Wait == 0 {
		number = 0
	}
	sent, known := c.sent[number]
	if !known {
		sent = c.k.config.Clock.Now() - c.request.TTL
	}
	return grant{a, sent}
}

// unknown is the end of a claim that nobody has answered. When each of its
// attempts is known to have done nothing, it is the last one's error.
func (c *claiming) unknown(why string, cause error) error {
	if c.made > 0 && c.nothing == c.made {
		return c.last
	}
	return interrex.Errorf(interrex.KindOutcomeUnknown, "claim of %s for %s: %s: it may be granted all the same, and then runs out after its ttl of %s",
		c.request.Key, c.request.Holder, why, c.request.TTL).WithCause(cause)
}

// drop ends the attempts that are still under way. A lease that one of them
// was granted in this very moment is given back.
func (c *claiming) drop(g grant) {
	for _, late := range c.attempts.close() {
		if late.err == nil && late.answer.Lease.Token > g.Lease.Token {
			c.k.giveBack(late.answer.Lease)
			return
		}
	}
}

// again reports whether an attempt's error asks for another one.
func again(k interrex.Kind) bool {
	return k.Retryable() || k == interrex.KindOutcomeUnknown || k == ""
}
