package client

import (
	"context"
	"errors"
	"math"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/backoff"
	"github.com/interrex/interrex/internal/hold"
	"github.com/interrex/interrex/internal/wire"
)

// attemptTimeout is how long one attempt may take before another agent is tried. It
// is longer than an agent waits for a leader.
const attemptTimeout = 3 * time.Second

// responseMargin is how long before the end of a call an agent gives up, so that its response
// still arrives.
const responseMargin = 100 * time.Millisecond

// The pauses between attempts.
const (
	minPause = 20 * time.Millisecond
	maxPause = time.Second
)

// Caller provides the client for a call: a *Client, or an agent of this
// process, whose own client changes when its API restarts.
type Caller interface {
	// Client returns the current client; it waits for one until ctx ends.
	Client(ctx context.Context) (*Client, error)
}

// Client implements Caller.
func (c *Client) Client(context.Context) (*Client, error) { return c, nil }

// clientOf returns the client of a Caller; an embedder may have passed nil.
func clientOf(ctx context.Context, by Caller) (*Client, error) {
	if by == nil {
		return nil, interrex.Errorf(interrex.ErrInvalid, "cannot call an agent: the Caller is nil; give a *client.Client or an *agent.Agent")
	}
	return by.Client(ctx)
}

// count converts a number in a request, such as a page size.
func count(field string, n int) (uint32, error) {
	if n < 0 || n > math.MaxInt32 {
		return 0, interrex.Errorf(interrex.ErrInvalid, "%s: %d is not allowed; 0 is the default", field, n)
	}
	return uint32(n), nil
}

// Options of a call. Leave the corresponding fields of the request empty.
type Options struct {
	// RequestID is the caller's own id for a recorded method: then Call makes one
	// attempt, and the caller counts the attempts. Empty: the Client chooses one,
	// and retries until an attempt is answered.
	RequestID string
	Attempt   uint32
	// Fence makes a write conditional: see interrex.Fence.
	Fence interrex.Fence

	wait      time.Duration // for its key
	asksAgain bool
	limit     time.Duration // of a single attempt; 0: attemptTimeout
	hear      func(interrex.Revision)
}

// generated is a pointer to a generated message T.
type generated[T any] interface {
	*T
	proto.Message
}

// Call calls a unary method of a service of an agent: interrex's own, or one
// that an embedder has given to its agents. procedure is its name in generated
// code: /example.v1.CounterService/Increment. Its errors are *interrex.Error.
//
// A method that reads, is harmless to repeat, or is recorded is retried at one
// agent after another until it is answered, within Config.Timeout and ctx.
func Call[Q, A any, PQ generated[Q], PA generated[A]](ctx context.Context, by Caller, procedure string, in PQ, o Options) (PA, error) {
	c, err := clientOf(ctx, by)
	if err != nil {
		return nil, err
	}
	return ask[A, PA](ctx, c.do, procedure, in, o)
}

// doer makes the attempts of a request: see Client.do and Client.attempt.
type doer func(context.Context, *request) ([]byte, error)

func ask[A any, PA generated[A]](ctx context.Context, do doer, procedure string, in proto.Message, o Options) (PA, error) {
	out := PA(new(A))
	if err := callInto(ctx, do, procedure, in, out, o); err != nil {
		return nil, err
	}
	return out, nil
}

// callInto merges the answer into out.
func callInto(ctx context.Context, do doer, procedure string, in, out proto.Message, o Options) error {
	r, err := newRequest(procedure, in, o)
	if err != nil {
		return err
	}
	body, err := do(ctx, r)
	if err != nil {
		return err
	}
	if err := (proto.UnmarshalOptions{Merge: true}).Unmarshal(body, out); err != nil {
		return unreadable(err)
	}
	if m, is := out.(interface{ GetRevision() uint64 }); is && r.hear != nil {
		r.hear(interrex.Revision(m.GetRevision()))
	}
	return nil
}

// unreadable returns the error for a response that cannot be decoded: the outcome is
// unknown.
func unreadable(err error) error {
	return interrex.Errorf(interrex.ErrOutcomeUnknown, "cannot read the agent's answer: %v", err)
}

// request is what all attempts of one request have in common.
type request struct {
	procedure string
	method    wire.Method // of procedure; see Client.prepare
	message   proto.Message
	body      []byte // message, encoded
	fence     *interrexv1.Fence
	Options
}

func newRequest(procedure string, in proto.Message, o Options) (*request, error) {
	body, err := proto.Marshal(in)
	if err != nil {
		return nil, interrex.Errorf(interrex.ErrInvalid, "cannot call %s: %v", procedure, err)
	}
	if !utf8.ValidString(o.RequestID) || !utf8.ValidString(o.Fence.Key.String()) {
		return nil, interrex.Errorf(interrex.ErrInvalid, "cannot call %s: its request id or fence is not UTF-8", procedure)
	}
	if len(body) > wire.MaxBody { // sending it would end the stream, with the operations of others
		return nil, interrex.Errorf(interrex.ErrTooLarge, "cannot call %s: its request has %d bytes, at most %d are allowed", procedure, len(body), wire.MaxBody)
	}
	return &request{procedure: procedure, message: in, body: body, fence: wire.Fence(o.Fence), Options: o}, nil
}

// prepare looks up the request's method, once for each method.
func (c *Client) prepare(r *request) error {
	r.hear = c.hear
	if found, is := c.methods.Load(r.procedure); is {
		r.method = found.(wire.Method)
		return nil
	}
	m, err := wire.MethodOf(r.procedure)
	if err == nil && !m.Writes() && m.Class != interrexv1.Class_CLASS_READ {
		err = errors.New("it is not a unary method")
	}
	if err != nil {
		return interrex.Errorf(interrex.ErrInvalid, "cannot call %s: %v", r.procedure, err)
	}
	c.methods.Store(r.procedure, m)
	r.method = m
	return nil
}

// attempt makes the operation of one attempt. It is new each time: one that was
// sent must not be changed.
func (r *request) attempt(id string, attempt uint32) *interrexv1.Operation {
	op := &interrexv1.Operation{Method: r.method.Number, Body: r.body, RequestId: id, Attempt: attempt, Fence: r.fence, AsksAgain: r.asksAgain}
	if r.wait > 0 {
		op.WaitMs = wire.Millis(r.wait)
	}
	if known := knownIn(id); known > 0 {
		op.KnownRevision = uint64(known)
	}
	return op
}

// do makes attempts until one has a final response. A request that may have
// happened is retried under its id, or as it is if repeating it is harmless. When
// the time is over first, the outcome is unknown if any attempt may have
// happened, else the error is the most informative one: see verdict.
func (c *Client) do(ctx context.Context, r *request) ([]byte, error) {
	if err := c.begin(ctx, r); err != nil {
		return nil, err
	}
	end := time.Now().Add(max(c.config.Timeout, r.limit))
	if r.RequestID != "" {
		return c.once(ctx, end, c.endpoint(), r, r.attempt(r.RequestID, r.Attempt))
	}
	if r.method.Class != interrexv1.Class_CLASS_RECORDED {
		return c.insist(ctx, end, r, "")
	}
	for {
		id, err := c.number(ctx, end)
		if err != nil {
			return nil, err
		}
		answer, err := c.insist(ctx, end, r, id.Text)
		id.Done()
		moves, told := id.Gone(err)
		if !moves {
			return answer, c.repeatable(told, id.Text)
		}
		c.config.Logger.Debugf("%s goes on under another request id: %v", r.procedure, err)
		if !c.sleep(ctx, end, backoff.Next(minPause, maxPause, 0)) {
			return nil, interrex.Errorf(interrex.ErrTimeout, "cannot call %s: nothing has happened: %v", r.procedure, err).WithCause(err)
		}
	}
}

// begin prepares a request, and fails if ctx has ended.
func (c *Client) begin(ctx context.Context, r *request) error {
	if ctx.Err() != nil {
		return interrex.Errorf(interrex.ErrTimeout, "cannot call %s: nothing was sent and nothing has happened: %v", r.procedure, context.Cause(ctx)).
			WithCause(errors.Join(ctx.Err(), context.Cause(ctx)))
	}
	return c.prepare(r)
}

// number takes an id, and waits while the window is full.
func (c *Client) number(ctx context.Context, end time.Time) (id hold.ID, err error) {
	if c.config.OneShot || c.names.ready(false) == nil { // a deadline costs six allocations
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, end)
		defer cancel()
	}
	for {
		id, err = c.ids.Open(ctx, false)
		if err == nil || interrex.KindOf(err) != interrex.ErrOverloaded || !c.sleep(ctx, end, interrex.RetryAfter(err)) {
			return id, err
		}
	}
}

// insist makes attempts under one id.
func (c *Client) insist(ctx context.Context, end time.Time, r *request, id string) (answer []byte, err error) {
	first := c.firstAttempt(id)
	disabled := 0   // consecutive agents that do not serve the method
	var said error  // the latest error from an agent
	unsure := false // one of them may have taken effect
	for n := 0; ; n++ {
		p := c.endpoint()
		answer, err := c.once(ctx, end, p, r, r.attempt(id, first+uint32(n)))
		kind := interrex.KindOf(err)
		if disabled++; !absent(kind) {
			disabled = 0
		}
		switch {
		case hold.AtDoor(kind):
			return nil, late(err, unsure)
		case err == nil, final(err) && disabled == 0:
			return answer, err
		case disabled == len(c.endpoints): // which does not tell what happened to an earlier attempt
			return nil, late(err, unsure)
		}
		unsure = unsure || kind == interrex.ErrOutcomeUnknown
		if wire.Answered(err) && (said == nil || kind != interrex.ErrTimeout && !absent(kind)) {
			said = err
		}
		if kind == interrex.ErrTimeout && said != nil {
			err = said // more informative than a timeout
		}
		pause := max(backoff.Next(minPause, maxPause, n), interrex.RetryAfter(err))
		if moves(kind) && c.leave(p) && (n+1)%len(c.endpoints) != 0 {
			pause = 0 // the next agent was not tried yet
		}
		if !c.sleep(ctx, end, pause) {
			return nil, late(c.verdict(said, err), unsure)
		}
		c.config.Logger.Debugf("%s: %v: retrying", p, err)
	}
}

// once makes one attempt at one agent. It ends after attemptTimeout, or after the
// request's own limit if the request waits at the agent.
func (c *Client) once(ctx context.Context, end time.Time, p *endpoint, r *request, op *interrexv1.Operation) ([]byte, error) {
	now := time.Now()
	if soon := now.Add(max(attemptTimeout, r.limit)); soon.Before(end) {
		end = soon
	}
	limit := end.Sub(now)
	if sooner, ok := ctx.Deadline(); ok {
		limit = min(limit, sooner.Sub(now))
	}
	op.TimeoutMs = early(limit)
	if c.config.OneShot {
		return c.send(ctx, limit, p, unary{p, r}, r, op)
	}
	return c.send(ctx, limit, p, p.stream, r, op)
}

// early returns the part of the remaining time that an agent gets, in milliseconds,
// so that its error that nothing has happened arrives before the end.
func early(left time.Duration) uint32 {
	return wire.Millis(left - min(left/10, responseMargin))
}

// single makes one attempt over the stream, for callers that retry themselves.
// After a failure the next attempt goes to another agent. An agent that does not
// serve the method has done nothing, so the others are tried too.
func (c *Client) single(ctx context.Context, r *request) (answer []byte, err error) {
	if err := c.begin(ctx, r); err != nil {
		return nil, err
	}
	for range c.endpoints {
		p := c.endpoint()
		answer, err = c.singleAt(ctx, p, r)
		kind := interrex.KindOf(err)
		if ctx.Err() == nil && moves(kind) {
			c.leave(p)
		}
		if !absent(kind) {
			break
		}
	}
	if wire.Answered(err) {
		return answer, err
	}
	return answer, c.verdict(nil, err)
}

// singleAt is bounded so that each of the agents can be tried before ctx ends.
func (c *Client) singleAt(ctx context.Context, p *endpoint, r *request) ([]byte, error) {
	limit := attemptTimeout
	if r.limit > 0 {
		limit = r.limit
	}
	op := r.attempt(r.RequestID, r.Attempt)
	if !op.AsksAgain {
		op.TimeoutMs = wire.Millis(limit)
		if end, ok := ctx.Deadline(); ok {
			limit = min(limit, time.Until(end)/time.Duration(len(c.endpoints)))
			op.TimeoutMs = early(limit)
		}
	}
	return c.send(ctx, limit, p, p.stream, r, op)
}

// carrier sends an operation to an agent; callstream.Stream and unary implement it.
type carrier interface {
	// CallWithin waits for the response until ctx ends, and at most for limit. Its errors
	// are those of callstream.Stream.Call.
	CallWithin(ctx context.Context, limit time.Duration, op *interrexv1.Operation) ([]byte, error)
}

// send sets the mark of an attempt that is numbered by a name.
func (c *Client) send(ctx context.Context, limit time.Duration, p *endpoint, by carrier, r *request, op *interrexv1.Operation) ([]byte, error) {
	if op.RequestId != "" {
		op.Mark = c.names.mark(op.RequestId)
	}
	answer, err := by.CallWithin(ctx, limit, op)
	p.note(ctx, err)
	return answer, r.known(ctx, err)
}

// known converts the error of an attempt: the outcome of a read is never unknown.
func (r *request) known(ctx context.Context, err error) error {
	if err == nil || r.method.Writes() {
		return err
	}
	var e *interrex.Error
	if !errors.As(err, &e) || e.Kind != interrex.ErrOutcomeUnknown {
		return err
	}
	told := *e
	told.Kind = interrex.ErrUnavailable
	if ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded) {
		told.Kind = interrex.ErrTimeout
	}
	return &told
}

// late returns the error of a request that has timed out.
func late(err error, unsure bool) error {
	if !unsure || errors.Is(err, interrex.ErrOutcomeUnknown) {
		return err
	}
	return interrex.Errorf(interrex.ErrOutcomeUnknown, "an attempt was not answered, and the last one failed: %v", err).WithCause(err)
}

// final reports whether an error is final for its request: no other attempt is
// made.
func final(err error) bool {
	kind := interrex.KindOf(err)
	return !kind.Retryable() && (kind != interrex.ErrOutcomeUnknown || forgotten(err))
}

// forgotten reports whether an outcome stays unknown: its record was dropped.
func forgotten(err error) bool {
	var e *interrex.Error
	return errors.As(err, &e) && e.Lost > 0
}

// absent reports whether an agent does not serve the method, and another one may.
func absent(k interrex.Kind) bool { return k == interrex.ErrDisabled || k == interrex.ErrRemoved }

// moves reports whether another agent may succeed after an error of this kind.
func moves(k interrex.Kind) bool {
	return k != interrex.ErrOverloaded && (k.Retryable() || k == interrex.ErrOutcomeUnknown || absent(k))
}

// sleep waits for d, and reports whether there is time for another attempt: not
// after end, nor if ctx or the Client has ended.
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
	return interrex.Errorf(interrex.ErrUnavailable, "the client is closed")
}
