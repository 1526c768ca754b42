package client

import (
	"context"
	"errors"
	"io"
	"net/http"
	"runtime"
	"time"

	"connectrpc.com/connect"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
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
			s.take(m)
			if len(m.Operations)+len(m.Cancels) == 0 {
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
func (s *Stream) take(m *interrexv1.OperateRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(len(s.cancels), maxOperations)
	m.Cancels = append(m.Cancels[:0], s.cancels[:n]...)
	s.cancels = s.cancels[:copy(s.cancels, s.cancels[n:])]
	m.Operations = m.Operations[:0]
	taken, size := 0, 0
	for _, c := range s.waiting {
		if len(m.Operations) == maxOperations {
			break
		}
		if c.op != nil {
			size += sizeOf(c.op)
			if size > maxMessage && len(m.Operations) > 0 {
				break
			}
			s.open[c.op.Id] = c
			m.Operations = append(m.Operations, c.op)
		}
		taken++
	}
	left := copy(s.waiting, s.waiting[taken:])
	clear(s.waiting[left:])
	s.waiting = s.waiting[:left]
}

// sizeOf is about how many bytes an operation takes.
func sizeOf(op *interrexv1.Operation) int {
	const fields = 64
	return fields + len(op.Body) + len(op.RequestId) + len(op.Fence.GetKey()) + len(op.Caller)
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
