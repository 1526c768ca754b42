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

// claiming is one claim under way: one request id, many attempts. Its id is replaced when
// its name is gone and nothing was done under it.
type claiming struct {
	k        *Keeper
	request  interrex.ClaimRequest
	id       ID
	attempts *attempts[interrex.LeaseAnswer]
	from     uint32                   // the first attempt under the present id
	sent     map[uint32]time.Duration // of the attempts whose grant could still be used
	until    time.Duration            // the end of attempts
	giveUp   time.Duration            // the end of waiting for answers
	ask      time.Duration            // the time of the next attempt
	failures int                      // attempts in a row that failed
	made     int                      // attempts
	nothing  int                      // attempts that are known to have done nothing
	last     error                    // of those, the most specific one
}

// Claim claims a lease, and waits in its queue for up to r.Wait: it retries under one
// request id, at least every quarter of the ttl, and accepts a refusal only of its
// newest attempt. A claim that does not wait is bounded by Config.Timeout. If ctx or
// that limit ends first, the error is ErrOutcomeUnknown, unless it is known that
// nothing has happened. r.RequestID and r.Attempt are ignored: the Keeper sets them.
//
// When ctx ends, Claim makes one more attempt, for half a second, to learn the
// outcome, and revokes a lease that it was granted.
//
// The answer has no deadline: call Hold to hold the lease.
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
	ctx, cancel := k.bound(ctx)
	defer cancel(nil)
	now := k.config.Clock.Now()
	c := &claiming{
		k: k, request: r,
		attempts: newAttempts[interrex.LeaseAnswer](k.config.Clock),
		sent:     map[uint32]time.Duration{},
		until:    now + r.Wait,
		giveUp:   now + r.Wait + grace(r.TTL),
	}
	if r.Wait == 0 {
		c.giveUp = now + limit
	}
	if err := c.open(ctx); err != nil {
		return grant{}, err
	}
	defer func() { c.id.Done() }()
	c.ask = k.config.Clock.Now()
	if r.Wait == 0 { // a grant that arrives after its ttl is of no use
		c.giveUp = min(c.giveUp, c.ask+r.TTL-Margin(r.TTL))
		c.until = c.giveUp - (c.giveUp-c.ask)/4 // the last attempt can still be answered
	}
	g, err := c.run(ctx)
	return g, c.end(ctx, g, err)
}

// open makes a new id for the claim.
func (c *claiming) open(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, max(0, c.giveUp-c.k.config.Clock.Now()))
	defer cancel()
	id, err := c.k.config.IDs.Open(bounded, c.request.Wait > 0)
	switch {
	case err != nil && ctx.Err() != nil:
		return unsent(ctx, c.request)
	case err != nil:
		return err
	}
	c.id, c.request.RequestID, c.from = id, id.Text, c.attempts.next
	return nil
}

// move goes on under another id, if nothing was done under the present one, whose name
// is gone.
func (c *claiming) move(ctx context.Context, gone error) error {
	if moves, told := c.id.Gone(gone); !moves {
		return told
	}
	c.k.config.Logger.Debugf("claim of %s goes on under another request id: the name of the former one is gone", c.request.Key)
	c.nothing = c.made
	former := c.id
	err := c.open(ctx)
	if err == nil {
		former.Done()
		clear(c.sent)
		c.ask = c.k.config.Clock.Now() + backoff.Next(minPause, time.Second, c.failures)
		c.failures++
	}
	return err
}

// unsent is the error of a claim whose context had ended before it began.
func unsent(ctx context.Context, r interrex.ClaimRequest) error {
	return interrex.Errorf(interrex.ErrTimeout, "cannot claim %s: nothing was sent and nothing has happened: %v", r.Key, context.Cause(ctx)).
		WithCause(errors.Join(ctx.Err(), context.Cause(ctx)))
}

// grace is how long the answer may take after the wait has ended.
func grace(ttl time.Duration) time.Duration {
	return min(max(ttl/2, 250*time.Millisecond), 5*time.Second)
}

func (c *claiming) run(ctx context.Context) (grant, error) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		now := c.k.config.Clock.Now()
		if now >= c.giveUp || now >= c.until && c.attempts.pending == 0 {
			return grant{}, unanswered{why: "no answer in time"}
		}
		if now >= c.ask && now < c.until {
			c.attempt(ctx)
		}
		wake := c.giveUp
		if now < c.until && c.ask < c.until {
			wake = min(wake, c.ask)
		}
		if c.attempts.pending == 0 {
			wake = min(wake, c.until)
		}
		timer.Reset(wake - now)
		select {
		case <-ctx.Done():
			return grant{}, unanswered{why: gone(ctx), cause: context.Cause(ctx)}
		case a := <-c.attempts.answers:
			c.attempts.take()
			if g, err, final := c.receive(ctx, a); final {
				return g, err
			}
		case <-timer.C:
		}
	}
}

// attempt makes an attempt, and schedules the next: an eighth to a quarter of the ttl
// later, so that three may be lost before the leader drops us from the queue.
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
		ctx, cancel := context.WithTimeout(ctx, limit) // the agent answers earlier
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

// receive handles the answer to one attempt; final reports whether it ends the claim.
func (c *claiming) receive(ctx context.Context, a attempt[interrex.LeaseAnswer]) (g grant, err error, final bool) {
	switch {
	case a.err == nil:
		return c.granted(a.answer), nil, true
	case a.number < c.from:
		return grant{}, nil, false
	case interrex.KindOf(a.err) == interrex.ErrNameGone: // of whichever attempt
		err := c.move(ctx, a.err)
		return grant{}, err, err != nil
	}
	c.count(a.err)
	if !c.attempts.newest(a) {
		return grant{}, nil, false // a refusal is only about its own attempt
	}
	kind := interrex.KindOf(a.err)
	switch {
	case (absent(kind) || AtDoor(kind)) && c.nothing < c.made: // it does not know the other attempts
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

// granted adds the send time to a grant. If the attempt that it names was forgotten,
// or never made, the time is so early that the lease has run out.
func (c *claiming) granted(a interrex.LeaseAnswer) grant {
	number := a.Attempt
	if c.request.Wait == 0 {
		number = c.from
	}
	sent, known := c.sent[number]
	if !known {
		sent = c.k.config.Clock.Now() - c.request.TTL
	}
	return grant{a, sent}
}

// count counts a failed attempt if it is known to have done nothing.
func (c *claiming) count(err error) {
	if kind := interrex.KindOf(err); kind.Retryable() || absent(kind) || AtDoor(kind) {
		c.nothing++
		c.last = moreSpecific(c.last, err)
	}
}

// absent reports whether an agent does not serve leases, and another one may.
func absent(k interrex.Kind) bool { return k == interrex.ErrDisabled || k == interrex.ErrRemoved }

// AtDoor reports whether an attempt was refused because of its caller, before the request's
// record was looked up: that says nothing of an earlier attempt.
func AtDoor(k interrex.Kind) bool {
	return k == interrex.ErrUnauthenticated || k == interrex.ErrDenied
}

// unanswered is why a claim ended without an answer to its newest attempt.
type unanswered struct {
	why   string
	cause error // may be nil
}

func (u unanswered) Error() string { return u.why }

// end ends the attempts that are in flight, and revokes a lease that one of them was
// granted meanwhile. If the caller has gone, it makes one more attempt to learn
// whether the claim was granted, and revokes that lease too.
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
		none = c.k.revokeUnused(*late)
	}
	switch {
	case !open:
		return err
	case none:
		return c.unknown(u, "that was checked, and it is not held now")
	}
	return c.unknown(u, fmt.Sprintf("it may be granted nevertheless, and would then expire after its ttl of %s", c.request.TTL))
}

// undone returns the error of a claim of which every attempt is known to have done
// nothing: the most specific one.
func (c *claiming) undone(u unanswered) error {
	if c.last == nil {
		return interrex.Errorf(interrex.ErrTimeout, "claim of %s: %s: nothing has happened", c.request.Key, u.why).WithCause(u.cause)
	}
	return because(c.last, u.cause)
}

func (c *claiming) unknown(u unanswered, left string) error {
	return interrex.Errorf(interrex.ErrOutcomeUnknown, "claim of %s for %s: %s: %s", c.request.Key, c.request.Holder, u.why, left).WithCause(u.cause)
}

// gone returns why a claim has no caller any more.
func gone(ctx context.Context) string {
	if cause := context.Cause(ctx); cause != ctx.Err() {
		return cause.Error()
	}
	return "its caller has gone"
}

// late cancels the attempts, and returns the lease that one of them was granted
// after g; nil if there is none.
func (c *claiming) late(g grant) (granted *interrex.Lease) {
	for _, a := range c.attempts.close() {
		switch {
		case a.err != nil && a.number >= c.from:
			c.count(a.err)
		case a.err != nil:
		case a.answer.Lease.Token > g.Lease.Token:
			granted = &a.answer.Lease
		}
	}
	return granted
}

// settleTime bounds settle.
const settleTime = 500 * time.Millisecond

// settle makes one more attempt, which does not wait. It returns the lease that the
// claim was granted; none reports that there is none.
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
	moves, _ := c.id.Gone(err)
	return nil, moves
}

// moreSpecific returns the more specific error: the newer one, unless it only says that
// no agent answered and the older one says more.
func moreSpecific(old, newer error) error {
	if old == nil || !answered(old) || answered(newer) {
		return newer
	}
	return old
}

// answered reports whether the error is an agent's answer.
func answered(err error) bool {
	switch interrex.KindOf(err) {
	case interrex.ErrUnavailable, interrex.ErrTimeout, interrex.ErrOutcomeUnknown, "":
		return false
	}
	return true
}

// again reports whether to make another attempt after an error.
func again(k interrex.Kind) bool {
	return k.Retryable() || k == interrex.ErrOutcomeUnknown || k == ""
}
