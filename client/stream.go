package client

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"connectrpc.com/connect"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/wire"
)

// What one stream carries at most.
const (
	DefaultMaxOpen = 4096    // operations that are open at a time; an agent takes no more
	maxOperations  = 1024    // in one message
	maxMessage     = 1 << 20 // bytes of one message; the server's limit is 4 MiB
)

// StreamConfig says where a Stream leads.
type StreamConfig struct {
	// HTTP makes the requests. It has to speak HTTP/2, in the clear with prior
	// knowledge for an http:// address.
	HTTP    connect.HTTPClient
	BaseURL string      // for example https://db1.example:7400
	Header  http.Header // sent with the request; may be nil
	Logger  Logger      // nil: nothing is said
	MaxOpen int         // operations that may be open at a time; 0: DefaultMaxOpen
	// Accept looks at the agent's headers before any operation is sent; its
	// error ends the connection. nil: all headers will do.
	Accept func(http.Header) error
}

// Validate says what is missing.
func (c StreamConfig) Validate() error {
	switch {
	case c.HTTP == nil:
		return errors.New("stream: no HTTP client")
	case c.BaseURL == "":
		return errors.New("stream: no BaseURL")
	case c.MaxOpen < 0:
		return errors.New("stream: MaxOpen is below zero")
	}
	return nil
}

// Stream carries operations to one agent over one bidirectional stream, all
// that wait in one message. It connects at the first call, and again, with
// backoff, after the connection broke. Any number of goroutines may call it.
type Stream struct {
	config  StreamConfig
	service interrexv1.StreamServiceClient
	life    context.Context
	end     context.CancelFunc
	work    chan struct{} // something waits to be sent
	ended   chan struct{}
	calls   sync.Pool // of *call, for the next ones

	mu       sync.Mutex
	lastID   uint64
	waiting  []*call          // not sent; the oldest first
	open     map[uint64]*call // sent, and not answered
	cancels  []uint64         // calls whose callers have gone
	failures int              // connections in a row that answered nothing
	refused  error            // why the last connection failed, and
	retryAt  time.Time        // until when none is tried
}

// call is one operation on its way. It is used again once it is answered.
type call struct {
	op     *interrexv1.StreamOperation // nil: its caller has gone before it was sent
	answer *interrexv1.StreamAnswer
	err    error
	done   chan struct{} // has room for the one signal
}

// NewStream makes a Stream. It does not connect yet. Close it.
func NewStream(c StreamConfig) (*Stream, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.Logger == nil {
		c.Logger = silent{}
	}
	if c.MaxOpen == 0 {
		c.MaxOpen = DefaultMaxOpen
	}
	s := &Stream{
		config: c,
		// Messages are small and many: to compress them costs more than it saves.
		service: interrexv1.NewStreamServiceClient(joining{c.HTTP}, c.BaseURL, connect.WithAcceptCompression("gzip", nil, nil)),
		work:    make(chan struct{}, 1),
		ended:   make(chan struct{}),
		open:    map[uint64]*call{},
	}
	s.calls.New = func() any { return &call{done: make(chan struct{}, 1)} }
	s.life, s.end = context.WithCancel(context.Background())
	go s.run()
	return s, nil
}

// Close ends the connection and waits until it is gone. Operations that were
// sent are KindOutcomeUnknown, the others KindUnavailable.
func (s *Stream) Close() error {
	s.end()
	<-s.ended
	return nil
}

// Call sends one operation and waits for its answer. It is one attempt. The
// id of op is set here; op must not be changed by anybody afterwards.
//
// An answer that is an error is returned as an *interrex.Error, without the
// answer. When the connection breaks, or ctx ends, an operation that was sent
// is KindOutcomeUnknown (a read KindUnavailable, or KindTimeout); one that
// never left is KindUnavailable, or KindTimeout when ctx ended. The agent is
// told of a caller that has gone.
func (s *Stream) Call(ctx context.Context, op *interrexv1.StreamOperation) (*interrexv1.StreamAnswer, error) {
	c, err := s.submit(op)
	if err != nil {
		return nil, err
	}
	select {
	case <-c.done:
	case <-ctx.Done():
		if err := s.abandon(c, ctx); err != nil {
			return nil, err
		}
		<-c.done // it was answered in this very moment
	}
	answer, err := c.answer, c.err
	*c = call{done: c.done}
	s.calls.Put(c)
	return answer, err
}

// submit puts an operation in line.
func (s *Stream) submit(op *interrexv1.StreamOperation) (*call, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.life.Err() != nil:
		return nil, interrex.Errorf(interrex.KindUnavailable, "the stream to %s is closed", s.config.BaseURL)
	case len(s.open)+len(s.waiting) >= s.config.MaxOpen:
		e := interrex.Errorf(interrex.KindOverloaded, "%d operations are open on the stream to %s", s.config.MaxOpen, s.config.BaseURL)
		e.RetryAfter = overloadPause
		return nil, e
	}
	if wait := time.Until(s.retryAt); s.refused != nil && wait > 0 {
		return nil, s.unavailable(s.refused, wait)
	}
	s.lastID++
	op.Id = s.lastID
	c := s.calls.Get().(*call)
	c.op = op
	s.waiting = append(s.waiting, c)
	s.wake()
	return c, nil
}

// abandon takes a call out whose caller has gone; nil: it has been answered.
func (s *Stream) abandon(c *call, ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	op := c.op
	switch {
	case op == nil:
		return nil
	case s.open[op.Id] == c:
		delete(s.open, op.Id)
		// The cancel is a help: without it the answer goes nowhere.
		if len(s.cancels) < s.config.MaxOpen {
			s.cancels = append(s.cancels, op.Id)
			s.wake()
		}
		kind := interrex.KindOutcomeUnknown
		if isRead(op) {
			kind = interrex.KindTimeout
		}
		return interrex.Errorf(kind, "%s has not answered in time", s.config.BaseURL).WithCause(context.Cause(ctx))
	}
	c.op = nil
	return interrex.Errorf(interrex.KindTimeout, "nothing was sent to %s in time", s.config.BaseURL).WithCause(context.Cause(ctx))
}

// wake tells the sender that there is something to send.
func (s *Stream) wake() {
	select {
	case s.work <- struct{}{}:
	default:
	}
}

// deliver hands out the answers of one message. One that nobody waits for any
// more is dropped.
func (s *Stream) deliver(answers []*interrexv1.StreamAnswer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range answers {
		if c := s.open[a.GetId()]; c != nil {
			delete(s.open, a.Id)
			c.finish(a)
		}
	}
}

// finish ends a call with its answer.
func (c *call) finish(a *interrexv1.StreamAnswer) {
	if refusal := wire.FromDetail(a.GetError()); refusal != nil {
		c.fail(refusal)
		return
	}
	c.op, c.answer = nil, a
	c.done <- struct{}{}
}

// fail ends a call with an error.
func (c *call) fail(err error) {
	c.op, c.err = nil, err
	c.done <- struct{}{}
}
