// Package callstream owns the streams of operations to one agent, and what every
// connection to an agent does alike: it greets, sends, receives, and ends in time.
package callstream

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"sync"
	"time"

	"connectrpc.com/connect"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/silent"
	"github.com/interrex/interrex/internal/wire"
)

// Limits of one stream.
const (
	defaultMaxOpen = 4096    // open operations; agents accept no more
	maxOperations  = 1024    // in one message
	maxMessage     = 1 << 20 // bytes of one message; the server's limit is 4 MiB
)

// Config configures a Stream.
type Config struct {
	// HTTP makes the requests. It has to speak HTTP/2, in the clear with prior
	// knowledge for an http:// address.
	HTTP    connect.HTTPClient
	BaseURL string          // for example https://db1.example:7400
	Header  http.Header     // sent with the request; may be nil
	Logger  interrex.Logger // nil: nothing is logged
	MaxOpen int             // operations that may be open at a time; 0: 4 096
	// Accept checks the agent's headers before any operation is sent; its error
	// ends the connection. nil: all headers are accepted.
	Accept func(http.Header) error
}

// Validate says which field is not valid.
func (c Config) Validate() error {
	switch {
	case c.HTTP == nil:
		return errors.New("nil HTTP not valid")
	case c.BaseURL == "":
		return errors.New("empty BaseURL not valid")
	case c.MaxOpen < 0:
		return errors.New("negative MaxOpen not valid")
	}
	return nil
}

// Stream carries operations to one agent over one bidirectional stream, all that
// wait in one message. It connects at the first call, and again, with backoff,
// after the connection broke. It is safe for concurrent use.
type Stream struct {
	config  Config
	service interrexv1.StreamServiceClient
	life    context.Context
	end     context.CancelFunc
	work    chan struct{} // signals that there is something to send
	ended   chan struct{}
	waits   sync.Pool // of *wait, to be reused

	mu       sync.Mutex
	lastID   uint64
	waiting  []*call          // not sent yet; the oldest first
	open     map[uint64]*call // sent, but not answered yet
	cancels  []uint64         // calls whose callers have gone
	answered []*call          // scratch space of the receiver
	failures int              // consecutive connections that answered nothing
	refused  error            // why the last connection failed
	retryAt  time.Time        // no new connection before this time
}

// call is one operation that waits for its response.
type call struct {
	op    *interrexv1.Operation // nil once answered, or abandoned before it was sent
	place int                   // index to pass to done
	done  func(place int, body []byte, err error)
}

func (c *call) answer(body []byte, err error) { c.done(c.place, body, err) }

// New returns a Stream. It does not connect yet. The caller must Close it.
func New(c Config) (*Stream, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("cannot make a stream: %w", err)
	}
	if c.Logger == nil {
		c.Logger = silent.Logger{}
	}
	if c.MaxOpen == 0 {
		c.MaxOpen = defaultMaxOpen
	}
	s := &Stream{
		config: c,
		// Messages are small and many: compression would cost more than it saves.
		service: interrexv1.NewStreamServiceClient(joining{c.HTTP}, c.BaseURL, connect.WithAcceptCompression("gzip", nil, nil), connect.WithCodec(wire.StreamCodec{})),
		work:    make(chan struct{}, 1),
		ended:   make(chan struct{}),
		open:    map[uint64]*call{},
	}
	s.waits.New = func() any { return newWait() }
	s.life, s.end = context.WithCancel(context.Background())
	go s.run()
	return s, nil
}

// Close ends the connection and waits until it is gone. Operations that were
// sent are ErrOutcomeUnknown, the others ErrUnavailable.
func (s *Stream) Close() error {
	s.end()
	<-s.ended
	return nil
}

// Call sends one operation and waits for its answer. It is one attempt. Call sets
// the id of op; op must not be changed afterwards.
//
// An answer that is an error is returned as an *interrex.Error. When the
// connection breaks, or ctx ends, an operation that was sent is
// ErrOutcomeUnknown; one that never left is ErrUnavailable, or ErrTimeout when
// ctx ended. The agent is told when a caller has gone.
func (s *Stream) Call(ctx context.Context, op *interrexv1.Operation) ([]byte, error) {
	return s.CallWithin(ctx, math.MaxInt64, op)
}

// CallWithin is Call with a time limit: a context with a deadline takes six allocations.
func (s *Stream) CallWithin(ctx context.Context, limit time.Duration, op *interrexv1.Operation) ([]byte, error) {
	w := s.waits.Get().(*wait)
	w.call = call{op: op, done: w.finish}
	s.submit(&w.call)
	w.limit.Reset(limit)
	var cause error
	select {
	case <-w.done:
	case <-ctx.Done():
		cause = context.Cause(ctx)
	case <-w.limit.C:
		cause = context.DeadlineExceeded
	}
	if cause != nil {
		s.abandon(&w.call, cause)
		<-w.done
		return w.body, w.err // and it may still be queued
	}
	body, err := w.body, w.err
	w.body, w.err = nil, nil
	s.waits.Put(w)
	return body, err
}

// wait is a call whose caller blocks until it is answered. It is reused.
type wait struct {
	call   call
	finish func(int, []byte, error)
	body   []byte
	err    error
	done   chan struct{} // has room for one signal
	limit  *time.Timer
}

func newWait() *wait {
	w := &wait{done: make(chan struct{}, 1), limit: time.NewTimer(math.MaxInt64)}
	w.finish = func(_ int, body []byte, err error) {
		w.body, w.err = body, err
		w.done <- struct{}{}
	}
	return w
}

// Send sends operations, together where they fit into a message. done is called
// once for each, with its index in ops and its answer, on any goroutine,
// perhaps before Send returns; it must not block, nor call the Stream. The
// errors are those of Call. abandon ends the wait for an answer, as the end of
// Call's ctx does.
func (s *Stream) Send(ops []*interrexv1.Operation, done func(i int, body []byte, err error)) (abandon func(i int)) {
	calls := make([]call, len(ops))
	all := make([]*call, len(ops))
	for i, op := range ops {
		calls[i] = call{op: op, place: i, done: done}
		all[i] = &calls[i]
	}
	s.submit(all...)
	return func(i int) { s.abandon(&calls[i], context.Canceled) }
}

// submit enqueues operations, and answers those that cannot be enqueued.
func (s *Stream) submit(calls ...*call) {
	s.mu.Lock()
	queued := 0
	var refusal error
	for _, c := range calls {
		if refusal = s.refusalOf(); refusal != nil {
			break
		}
		s.lastID++
		c.op.Id = s.lastID
		s.waiting = append(s.waiting, c)
		queued++
	}
	if queued > 0 {
		s.wake()
	}
	s.mu.Unlock()
	for _, c := range calls[queued:] {
		c.op = nil
		c.answer(nil, refusal)
	}
}

// refusalOf returns why no operation may be enqueued; nil if it may.
func (s *Stream) refusalOf() error {
	switch {
	case s.life.Err() != nil:
		return interrex.Errorf(interrex.ErrUnavailable, "the stream to %s is closed", s.config.BaseURL)
	case len(s.open)+len(s.waiting) >= s.config.MaxOpen:
		e := interrex.Errorf(interrex.ErrOverloaded, "%d operations are open on the stream to %s", s.config.MaxOpen, s.config.BaseURL)
		e.RetryAfter = OverloadPause
		return e
	}
	if s.refused == nil {
		return nil
	}
	if wait := time.Until(s.retryAt); wait > 0 {
		return s.unavailable(s.refused, wait)
	}
	return nil
}

// abandon fails a call whose caller has gone, unless it has been answered.
func (s *Stream) abandon(c *call, cause error) {
	s.mu.Lock()
	op := c.op
	if op == nil {
		s.mu.Unlock()
		return
	}
	err := interrex.Errorf(interrex.ErrTimeout, "no response from %s in time, and nothing was sent to it", s.config.BaseURL)
	if s.open[op.Id] == c {
		delete(s.open, op.Id)
		// The cancel only saves work: without it the response is dropped.
		if len(s.cancels) < s.config.MaxOpen {
			s.cancels = append(s.cancels, op.Id)
			s.wake()
		}
		err = interrex.Errorf(interrex.ErrOutcomeUnknown, "%s has not answered in time", s.config.BaseURL)
	}
	c.op = nil
	s.mu.Unlock()
	c.answer(nil, err.WithCause(cause))
}

// wake signals the sender that there is something to send.
func (s *Stream) wake() {
	select {
	case s.work <- struct{}{}:
	default:
	}
}

// deliver hands out the responses of one message. A response whose caller has
// gone is dropped.
func (s *Stream) deliver(answers []*interrexv1.Answer) {
	s.mu.Lock()
	for i, a := range answers {
		c := s.open[a.GetId()]
		if c == nil {
			answers[i] = nil
			continue
		}
		delete(s.open, a.Id)
		c.op = nil
		s.answered = append(s.answered, c)
	}
	calls := s.answered
	s.answered = s.answered[:0]
	s.mu.Unlock()
	i := 0
	for _, a := range answers {
		if a == nil {
			continue
		}
		c := calls[i]
		calls[i] = nil
		i++
		if refusal := wire.FromDetail(a.GetError()); refusal != nil {
			c.answer(nil, refusal)
		} else {
			c.answer(a.GetBody(), nil)
		}
	}
}
