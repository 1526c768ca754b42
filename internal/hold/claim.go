package hold

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/backoff"
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
// refusal of its newest attempt alone. A claim that does not wait is bounded by
// Config.Timeout. When ctx or its own timer ends first, the outcome is unknown,
// never held, unless nothing has happened. r.RequestID and r.Attempt are ignored:
// the Keeper counts.
//
// When ctx ends, Claim asks once more, for half a second, what has become of it,
// and returns back what it was granted.
//
// The answer is no deadline: who wants to hold the lease calls Hold.
func (k *Keeper) Claim(ctx context.Context, r interrex.ClaimRequest) (interrex.LeaseAnswer, error) {
	g, err := k.claim(ctx, r, k.config.Timeout)
	return g.LeaseAnswer, err
}

func (k *Keeper) claim(ctx context.Context, r interrex.ClaimRequest, limit time.Duration) (grant, error) {
	if ctx.Err() != nil {
		return grant{}, unsent(ctx, r)
	}
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
	if r.Wait == 0 { // a grant that is heard after its ttl is of no use
		limit = min(limit, r.TTL-Margin(r.TTL))
		c.giveUp = now + limit
		c.until = c.giveUp - limit/4 // the last attempt can still be answered
	}
	g, err := c.run(ctx)
	return g, c.end(ctx, g, err)
}

// unsent is the error of a claim whose context had ended before it began.
func unsent(ctx context.Context, r interrex.ClaimRequest) error {
	return interrex.Errorf(interrex.KindTimeout, "cannot claim %s: nothing was sent and nothing has happened: %v", r.Key, context.Cause(ctx)).
		WithCause(errors.Join(ctx.Err(), context.Cause(ctx)))
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
		if now >= c.giveUp || now >= c.until && c.attempts.unheard == 0 {
			return grant{}, unanswered{why: "no answer in time"}
		}
		if now >= c.ask && now < c.until {
			c.attempt(ctx)
		}
		wake := c.giveUp
		if now < c.until && c.ask < c.until {
			wake = min(wake, c.ask)
		}
		if c.attempts.unheard == 0 {
			wake = min(wake, c.until)
		}
		timer.Reset(wake - now)
		select {
		case <-ctx.Done():
			return grant{}, unanswered{why: gone(ctx), cause: context.Cause(ctx)}
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
	every := r.TTL / 4
	if r.Wait > 0 {
		r.Wait = c.until - now
	} else {
		every = min(every, c.k.config.Timeout/4)
	}
	c.ask = now + backoff.Jittered(every)
	limit := c.giveUp - now
	t, sent := c.attempts.send(ctx, func(ctx context.Context, number uint32) (interrex.LeaseAnswer, error) {
		ctx, cancel := context.WithTimeout(ctx, limit) // the agent answers before
		defer cancel()
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
	c.count(a.err)
	if !c.attempts.newest(a) {
		return grant{}, nil, false // a refusal is about its own attempt
	}
	kind := interrex.KindOf(a.err)
	switch {
	case kind == interrex.KindDisabled && c.nothing < c.made: // by an agent that knows of no other attempt
		return grant{}, unanswered{why: a.err.Error(), cause: a.err}, true
	case !again(kind):
		return grant{}, a.err, true
	}
	c.k.config.Logger.Debugf("claim of %s, attempt %d: %v", c.request.Key, a.number, a.err)
	now := c.k.config.Clock.Now()
	c.ask = min(c.ask, now+max(backoff.Next(minPause, time.Second, c.failures), interrex.RetryAfter(a.err)))
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

// count notes that an attempt has failed, and whether it is known to have done
// nothing.
func (c *claiming) count(err error) {
	if kind := interrex.KindOf(err); kind.Retryable() || kind == interrex.KindDisabled {
		c.nothing++
		c.last = tellsMore(c.last, err)
	}
}

// unanswered is the end of a claim whose newest attempt has no answer.
type unanswered struct {
	why   string
	cause error // may be nil
}

func (u unanswered) Error() string { return u.why }

// end ends the attempts that are still under way. A lease that one of them was
// granted in this very moment is given back. So is one that was granted to a
// caller who has gone: the claim is made once more, to hear of it.
func (c *claiming) end(ctx context.Context, g grant, err error) error {
	late := c.late(g)
	var u unanswered
	open := errors.As(err, &u)
	if open && c.nothing == c.made {
		return c.undone(u)
	}
	none := false
	if open && late == nil && ctx.Err() != nil {
		late, none = c.settle()
	}
	if late != nil {
		none = c.k.giveBack(*late)
	}
	switch {
	case !open:
		return err
	case none:
		return c.unknown(u, "it was looked after, and is not held now")
	}
	return c.unknown(u, fmt.Sprintf("it may be granted all the same, and then runs out after its ttl of %s", c.request.TTL))
}

// undone is the end of a claim of which each attempt is known to have done
// nothing: the error that says most.
func (c *claiming) undone(u unanswered) error {
	if c.last == nil {
		return interrex.Errorf(interrex.KindTimeout, "claim of %s: %s: nothing has happened", c.request.Key, u.why).WithCause(u.cause)
	}
	return because(c.last, u.cause)
}

func (c *claiming) unknown(u unanswered, left string) error {
	return interrex.Errorf(interrex.KindOutcomeUnknown, "claim of %s for %s: %s: %s", c.request.Key, c.request.Holder, u.why, left).WithCause(u.cause)
}

// gone says why nobody waits for a claim any more.
func gone(ctx context.Context) string {
	if cause := context.Cause(ctx); cause != ctx.Err() {
		return cause.Error()
	}
	return "its caller has gone"
}

// late cancels the attempts, and returns a lease that was granted to one of them
// after g.
func (c *claiming) late(g grant) (granted *interrex.Lease) {
	for _, a := range c.attempts.close() {
		switch {
		case a.err != nil:
			c.count(a.err)
		case a.answer.Lease.Token > g.Lease.Token:
			granted = &a.answer.Lease
		}
	}
	return granted
}

// settleTime bounds settle.
const settleTime = 500 * time.Millisecond

// settle makes one more attempt, which does not wait. It returns the lease that
// the claim was granted, and whether it is known that there is none.
func (c *claiming) settle() (granted *interrex.Lease, none bool) {
	ctx, cancel := context.WithTimeout(context.Background(), settleTime)
	defer cancel()
	r := c.request
	r.Wait, r.Attempt = 0, c.attempts.next
	a, err := c.k.config.Backend.Claim(ctx, r)
	switch {
	case err == nil:
		return &a.Lease, false
	case errors.Is(err, interrex.ErrHeld), errors.Is(err, interrex.ErrNotHeld):
		return nil, true
	}
	return nil, false
}

// tellsMore returns the error that says more about why nothing could be done: of
// two, the newer one, but not that nobody could be asked, or has answered.
func tellsMore(old, newer error) error {
	if old == nil || !asked(old) || asked(newer) {
		return newer
	}
	return old
}

// asked reports whether an agent has answered an attempt with an error.
func asked(err error) bool {
	switch interrex.KindOf(err) {
	case interrex.KindUnavailable, interrex.KindTimeout, interrex.KindOutcomeUnknown, "":
		return false
	}
	return true
}

// again reports whether an attempt's error asks for another one.
func again(k interrex.Kind) bool {
	return k.Retryable() || k == interrex.KindOutcomeUnknown || k == ""
}
