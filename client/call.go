package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/wire"
)

// attemptTimeout is how long one attempt may take before another agent is
// asked. An agent waits for a leader itself for less than that.
const attemptTimeout = 3 * time.Second

// hurry is how long before the end of a call an agent gives up: its answer
// still has to arrive.
const hurry = 100 * time.Millisecond

// The pauses between attempts.
const (
	minPause = 20 * time.Millisecond
	maxPause = time.Second
)

// request is one request: it is made anew for each attempt, as a message that
// is on its way must not be changed.
type request struct {
	write   bool   // takes a request id
	id      string // the caller's own: it counts its attempts itself
	attempt uint32 // the caller's own
	make    func(id string, attempt uint32) *interrexv1.StreamOperation
}

// do makes attempts until one is answered for good. A request that may have
// happened is asked again under its id, or again as it is when repeating it is
// harmless. When the time is over before, the outcome is unknown if any attempt
// may have happened, else the error of the last one.
func (c *Client) do(ctx context.Context, r request) (*interrexv1.StreamAnswer, error) {
	end := time.Now().Add(c.config.Timeout)
	if r.id != "" {
		return c.once(ctx, end, c.endpoint(), r.make(r.id, r.attempt))
	}
	if r.write {
		id, done, err := c.number(ctx, end)
		if err != nil {
			return nil, err
		}
		defer done()
		r.id = id
	}
	return c.insist(ctx, end, r)
}

// number takes an id, and waits while the window is full.
func (c *Client) number(ctx context.Context, end time.Time) (id string, done func(), err error) {
	for {
		id, done, err = c.ids.Open(false)
		if err == nil || !c.sleep(ctx, end, wire.RetryAfter(err)) {
			return id, done, err
		}
	}
}

func (c *Client) insist(ctx context.Context, end time.Time, r request) (*interrexv1.StreamAnswer, error) {
	unsure := false
	var last error
	for n := 0; ; n++ {
		p := c.endpoint()
		answer, err := c.once(ctx, end, p, r.make(r.id, uint32(n)))
		if err == nil || final(err) {
			return answer, err
		}
		kind := interrex.KindOf(err)
		if kind == interrex.KindTimeout && last != nil {
			err = last // it says more than that the time is over
		}
		last = err
		unsure = unsure || kind == interrex.KindOutcomeUnknown
		pause := max(backoff(n), wire.RetryAfter(err))
		if moves(kind) && c.leave(p) && (n+1)%len(c.endpoints) != 0 {
			pause = 0 // the next one was not asked yet
		}
		if !c.sleep(ctx, end, pause) {
			return nil, late(err, unsure)
		}
		c.config.Logger.Debugf("%s: %v: asking again", p.url, err)
	}
}

// once makes one attempt at one agent. When nobody has answered in
// attemptTimeout, it is over.
func (c *Client) once(ctx context.Context, end time.Time, p *endpoint, op *interrexv1.StreamOperation) (*interrexv1.StreamAnswer, error) {
	if soon := time.Now().Add(attemptTimeout); soon.Before(end) {
		end = soon
	}
	ctx, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	if end, ok := ctx.Deadline(); ok {
		// The agent's word that nothing has happened arrives before the end.
		left := time.Until(end)
		op.Timeout = durationpb.New(max(left-min(left/10, hurry), time.Millisecond))
	}
	if c.config.OneShot {
		return c.send(ctx, unary{p}, op)
	}
	return c.send(ctx, p.stream, op)
}

// carrier brings an operation to an agent: Stream does, and unary.
type carrier interface {
	Call(ctx context.Context, op *interrexv1.StreamOperation) (*interrexv1.StreamAnswer, error)
}

// send puts the mark on an attempt that is numbered by a name, and notes when
// the name was answered.
func (c *Client) send(ctx context.Context, by carrier, op *interrexv1.StreamOperation) (*interrexv1.StreamAnswer, error) {
	id := requestID(op)
	if id == "" {
		return by.Call(ctx, op)
	}
	mark, err := c.names.sending(id)
	if err != nil {
		return nil, err
	}
	op.Mark = mark
	sent := c.clock.Now()
	answer, err := by.Call(ctx, op)
	switch {
	case err == nil || final(err):
		c.names.heard(id, sent)
	case errors.Is(err, interrex.ErrOutcomeUnknown):
		c.names.unheard(id)
	}
	return answer, err
}

// late is the error of a request whose time is over.
func late(err error, unsure bool) error {
	if !unsure || errors.Is(err, interrex.ErrOutcomeUnknown) {
		return err
	}
	return interrex.Errorf(interrex.KindOutcomeUnknown, "an attempt was not answered, and the last one says: %v", err).WithCause(err)
}

// final reports whether an error answers its request: no other attempt is made.
func final(err error) bool {
	kind := interrex.KindOf(err)
	return !kind.Retryable() && kind != interrex.KindOutcomeUnknown
}

// moves reports whether another agent may do better.
func moves(k interrex.Kind) bool {
	return k != interrex.KindOverloaded && (k.Retryable() || k == interrex.KindOutcomeUnknown)
}

// backoff is a jittered pause before the attempt after the nth.
func backoff(n int) time.Duration {
	d := min(maxPause, minPause<<min(n, 10))
	return d/2 + rand.N(d/2)
}

// sleep waits for d, and reports whether there is time for another attempt: not
// after end, nor when ctx or the Client has ended.
func (c *Client) sleep(ctx context.Context, end time.Time, d time.Duration) bool {
	if d >= time.Until(end) || ctx.Err() != nil || c.life.Err() != nil {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
	case <-c.life.Done():
	}
	return false
}

func errClientClosed() error {
	return interrex.Errorf(interrex.KindUnavailable, "the client is closed")
}

// requestID gives the id of an operation that has one.
func requestID(op *interrexv1.StreamOperation) string {
	switch r := op.Request.(type) {
	case *interrexv1.StreamOperation_Claim:
		return r.Claim.RequestId
	case *interrexv1.StreamOperation_Revoke:
		return r.Revoke.RequestId
	case *interrexv1.StreamOperation_Transfer:
		return r.Transfer.RequestId
	case *interrexv1.StreamOperation_Pin:
		return r.Pin.RequestId
	case *interrexv1.StreamOperation_Unpin:
		return r.Unpin.RequestId
	}
	return ""
}
