package client

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/wire"
)

// Pauses of a stream.
const (
	overloadPause = 10 * time.Millisecond
	minReconnect  = 50 * time.Millisecond
	maxReconnect  = 2 * time.Second
	// The reason why a message could not be sent arrives beside it; for so long
	// it is waited for.
	reasonPause = time.Second
	// An agent's headers are there within this time, or it is not.
	greetTimeout = 5 * time.Second
)

// errClosed ends what is open when a Stream is closed.
var errClosed = errors.New("the stream was closed")

// run keeps the connection while there is something to send.
func (s *Stream) run() {
	defer close(s.ended)
	for {
		select {
		case <-s.life.Done():
			s.broken(errClosed, 0)
			return
		case <-s.work:
		}
		if s.idle() {
			continue
		}
		answered, err := s.connect()
		s.broken(err, answered)
	}
}

// idle reports whether nothing waits; cancels of an old connection are moot.
func (s *Stream) idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cancels = s.cancels[:0]
	return len(s.waiting) == 0
}

// connect is the life of one connection. It gives the number of messages that
// were received, and why it ended.
func (s *Stream) connect() (answered int, err error) {
	ctx, cancel := context.WithCancel(s.life)
	defer cancel()
	conn := s.service.Operate(ctx)
	for name, values := range s.config.Header {
		conn.RequestHeader()[name] = values
	}
	s.wake() // for what has waited since before the connection
	greeted, received := make(chan struct{}), make(chan error, 1)
	go func() {
		defer cancel() // a Send that is blocked ends too
		received <- s.receive(cancel, conn, greeted, &answered)
	}()
	var sendErr error
	select {
	case <-greeted:
		sendErr = s.send(ctx, conn)
	case <-ctx.Done():
	}
	// HTTP/2 hears of the end of ctx only once it waits no more for a message to
	// send: a receiver of an agent that says nothing would wait for ever.
	_ = conn.CloseRequest()
	select {
	case err = <-received: // it ended, and so did send
	default:
		err = await(received, sendErr, cancel)
	}
	_ = conn.CloseResponse()
	if s.life.Err() != nil {
		err = errClosed
	}
	return answered, err
}

// await gives why a connection ended on which nothing can be sent any more: an
// error of sending itself, else what the receiver learns within reasonPause.
func await(received <-chan error, sendErr error, cancel func()) error {
	if sendErr != nil && !errors.Is(sendErr, io.EOF) {
		cancel()
		<-received
		return sendErr
	}
	timer := time.AfterFunc(reasonPause, cancel)
	defer timer.Stop()
	return <-received
}

// operating is the stream as Connect gives it.
type operating = connect.BidiStreamForClient[interrexv1.OperateRequest, interrexv1.OperateResponse]

// send sends what waits, all of it in one message, as soon as the last message
// has been sent. It returns nil when ctx ended.
func (s *Stream) send(ctx context.Context, conn *operating) error {
	m := &interrexv1.OperateRequest{}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.work:
		}
		for {
			// Callers that were woken by the same answers are about to call again:
			// let them, so that one message carries them all.
			runtime.Gosched()
			m.Operations = s.take(m.Operations[:0])
			if len(m.Operations) == 0 {
				break
			}
			if err := conn.Send(m); err != nil {
				return err
			}
			clear(m.Operations)
		}
	}
}

// take moves what fits into a message from the waiting to the open calls.
func (s *Stream) take(ops []*interrexv1.StreamOperation) []*interrexv1.StreamOperation {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range s.cancels[:min(len(s.cancels), maxOperations)] {
		s.lastID++
		ops = append(ops, &interrexv1.StreamOperation{Id: s.lastID, Request: &interrexv1.StreamOperation_Cancel{Cancel: id}})
	}
	s.cancels = s.cancels[:copy(s.cancels, s.cancels[len(ops):])]
	taken, size := 0, 0
	for _, c := range s.waiting {
		if len(ops) == maxOperations {
			break
		}
		if c.op != nil {
			size += proto.Size(c.op)
			if size > maxMessage && len(ops) > 0 {
				break
			}
			s.open[c.op.Id] = c
			ops = append(ops, c.op)
		}
		taken++
	}
	left := copy(s.waiting, s.waiting[taken:])
	clear(s.waiting[left:])
	s.waiting = s.waiting[:left]
	return ops
}

// receive greets the agent, and hands out answers until the connection ends.
//
// An agent sends its headers ahead. Nothing is sent to it before they are there
// and accepted: until then every operation has provably not left.
func (s *Stream) receive(cancel func(), conn *operating, greeted chan<- struct{}, answered *int) error {
	if err := conn.Send(nil); err != nil {
		return err
	}
	header, err := s.greeting(cancel, conn)
	if err != nil {
		return err
	}
	if len(header) > 0 {
		close(greeted)
	} // else the request has failed: Receive says why
	for {
		m, err := conn.Receive()
		if err != nil {
			return err
		}
		*answered++
		s.deliver(m.Answers)
	}
}

// greeting waits for the agent's headers, and looks at them. None are there
// when the request has failed.
func (s *Stream) greeting(cancel func(), conn *operating) (http.Header, error) {
	timer := time.AfterFunc(greetTimeout, cancel)
	header := conn.ResponseHeader()
	if !timer.Stop() {
		return nil, interrex.Errorf(interrex.KindUnavailable, "%s has not answered the connection within %s", s.config.BaseURL, greetTimeout)
	}
	if len(header) > 0 && s.config.Accept != nil {
		return header, s.config.Accept(header)
	}
	return header, nil
}

// broken ends the calls that were sent on a connection that is gone. When it
// never answered anything, those that wait end too, and no other connection is
// tried for a while.
func (s *Stream) broken(err error, answered int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cancels = s.cancels[:0]
	if answered > 0 && s.life.Err() == nil {
		s.failures, s.refused = 0, nil
		s.failOpen(func(op *interrexv1.StreamOperation) error { return s.lost(op, err) })
		if len(s.waiting) > 0 {
			s.wake()
		}
		return
	}
	pause := min(maxReconnect, minReconnect<<min(s.failures, 10))
	pause = pause/2 + rand.N(pause/2)
	s.failures++
	s.refused, s.retryAt = err, time.Now().Add(pause)
	unsent := s.unavailable(err, pause)
	s.failOpen(func(op *interrexv1.StreamOperation) error {
		if wire.NeverLeft(err) || s.refusal(err) != nil {
			return unsent
		}
		return s.lost(op, err)
	})
	for i, c := range s.waiting {
		s.waiting[i] = nil
		if c.op != nil {
			c.fail(unsent)
		}
	}
	s.waiting = s.waiting[:0]
	s.config.Logger.Debugf("the stream to %s broke: %s", s.config.BaseURL, reason(err))
}

// failOpen ends the calls that were sent.
func (s *Stream) failOpen(why func(op *interrexv1.StreamOperation) error) {
	for id, c := range s.open {
		delete(s.open, id)
		c.fail(why(c.op))
	}
}

// refusal is the agent's refusal, for good, of a whole stream; nil: it is none.
func (s *Stream) refusal(err error) error {
	classified := wire.FromError(err, true)
	if kind := interrex.KindOf(classified); kind.Retryable() || kind == interrex.KindOutcomeUnknown {
		return nil
	}
	return classified
}

// lost is the error of an operation that was sent on a connection that broke.
func (s *Stream) lost(op *interrexv1.StreamOperation, err error) error {
	kind := interrex.KindOutcomeUnknown
	if isRead(op) {
		kind = interrex.KindUnavailable
	}
	return interrex.Errorf(kind, "the stream to %s broke before its answer: %s", s.config.BaseURL, reason(err)).WithCause(err)
}

// reason gives an error's text without the code that a library put before it.
func reason(err error) string {
	if answered := (*connect.Error)(nil); errors.As(err, &answered) {
		return answered.Message()
	}
	return err.Error()
}

// unavailable is the error of an operation that was not sent.
func (s *Stream) unavailable(err error, wait time.Duration) error {
	if refusal := s.refusal(err); refusal != nil {
		return refusal
	}
	e := interrex.Errorf(interrex.KindUnavailable, "%s cannot be reached: %s", s.config.BaseURL, reason(err)).WithCause(err)
	e.RetryAfter = max(wire.RetryAfter(wire.FromError(err, false)), wait)
	return e
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

// isRead reports whether an operation changes nothing.
func isRead(op *interrexv1.StreamOperation) bool {
	switch op.Request.(type) {
	case *interrexv1.StreamOperation_Get, *interrexv1.StreamOperation_List,
		*interrexv1.StreamOperation_History, *interrexv1.StreamOperation_ReadIndex:
		return true
	}
	return false
}
