package admission

import (
	"context"
	"sync"
	"time"

	"github.com/interrex/interrex"
)

// Calls counts the calls that are open on a server, so that a drain can wait for
// them, and limits those of each caller.
type Calls struct {
	*InFlight
	Ended context.Context // done once a drain has begun
	end   context.CancelFunc

	mu   sync.Mutex
	open int
	idle chan struct{} // closed when the drain has begun and nothing is open
}

// NewCalls returns Calls with none open. within is what the agent's callers have in
// flight; nil: nothing.
func NewCalls(within *InFlight) *Calls {
	if within == nil {
		within = NewInFlight(MaxInFlight)
	}
	c := &Calls{InFlight: within, idle: make(chan struct{})}
	c.Ended, c.end = context.WithCancel(context.Background())
	return c
}

// Enter opens one call of a caller, which Leave closes. The error is ErrDraining, or that
// of InFlight.Take.
func (c *Calls) Enter(k Kind, who string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.Draining() {
		return DrainingError()
	}
	if err := c.Take(k, who, 1); err != nil {
		return err
	}
	c.open++
	return nil
}

type begunKey struct{}

// Begin opens the call of ctx, which end closes. What it consists of is given its copy of
// ctx, and opens no other. The errors are those of Enter.
func (c *Calls) Begin(ctx context.Context, k Kind) (_ context.Context, end func(), err error) {
	if ctx.Value(begunKey{}) != nil {
		return ctx, func() {}, nil
	}
	who := CallerOf(ctx).Share()
	if err := c.Enter(k, who); err != nil {
		return ctx, nil, err
	}
	return context.WithValue(ctx, begunKey{}, true), func() { c.Leave(k, who, 1) }, nil
}

// Leave closes n calls of a caller.
func (c *Calls) Leave(k Kind, who string, n int) {
	c.Give(k, who, n)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open -= n
	c.settle()
}

// settle closes idle if a drain has begun and no call is open. The lock is held.
func (c *Calls) settle() {
	if c.open > 0 || !c.Draining() {
		return
	}
	select {
	case <-c.idle:
	default:
		close(c.idle)
	}
}

// Draining reports whether a drain has begun.
func (c *Calls) Draining() bool { return c.Ended.Err() != nil }

// Drain refuses new calls and waits for the open ones.
func (c *Calls) Drain(ctx context.Context) error {
	c.mu.Lock()
	c.end()
	c.settle()
	open := c.open
	c.mu.Unlock()
	select {
	case <-c.idle:
		return nil
	case <-ctx.Done():
		return interrex.Errorf(interrex.ErrTimeout, "%d calls were still open when the drain timed out: %v", open, context.Cause(ctx))
	}
}

type closingKey struct{}

// WithClosing returns ctx for the requests of one listener. closing is done when the
// listener stops.
func WithClosing(ctx, closing context.Context) context.Context {
	return context.WithValue(ctx, closingKey{}, closing)
}

// EndedFor returns a context that is done when a call that may last long has to end:
// once a drain has begun, or the listener at which the request of ctx arrived stops.
// The caller calls release when the call is over.
func (c *Calls) EndedFor(ctx context.Context) (ended context.Context, release func()) {
	closing, is := ctx.Value(closingKey{}).(context.Context)
	if !is {
		return c.Ended, func() {}
	}
	ended, cancel := context.WithCancel(closing)
	stop := context.AfterFunc(c.Ended, cancel)
	return ended, func() { stop(); cancel() }
}

// EndOn returns a copy of ctx that ends with ErrDraining as its cause when a call that
// may last long has to end; see EndedFor.
func (c *Calls) EndOn(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	ended, release := c.EndedFor(ctx)
	stop := context.AfterFunc(ended, func() { cancel(DrainingError()) })
	return ctx, func() { stop(); release(); cancel(nil) }
}

// EndSoon is EndOn for a call that another agent answers, of which it is not known here
// whether it may last long: the copy ends grace later, and the call's outcome is unknown
// then.
func (c *Calls) EndSoon(ctx context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	ended, release := c.EndedFor(ctx)
	stop := context.AfterFunc(ended, func() {
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-ctx.Done():
		case <-timer.C:
			cancel(interrex.Errorf(interrex.ErrOutcomeUnknown, "this agent is stopping, and the member that it has forwarded the request to has not answered yet: try another agent, or this one when it runs again"))
		}
	})
	return ctx, func() { stop(); release(); cancel(nil) }
}

// DrainingError returns the error of a call that arrives during a drain.
func DrainingError() error {
	err := interrex.Errorf(interrex.ErrDraining, "this agent is stopping; nothing has happened, try another agent")
	err.RetryAfter = 100 * time.Millisecond
	return err
}
