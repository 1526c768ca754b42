package callstream

import (
	"context"
	"errors"
	"runtime"
	"time"

	"connectrpc.com/connect"

	"github.com/interrex/interrex/gen/interrexv1"
)

// OverloadPause is when to try again what is refused because too much is open.
const OverloadPause = 10 * time.Millisecond

// The pauses before another connection.
const (
	minReconnect = 50 * time.Millisecond
	maxReconnect = 2 * time.Second
)

// errClosed ends the open calls when a Stream is closed.
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

// idle reports whether nothing waits; cancels for an old connection are dropped.
func (s *Stream) idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cancels = s.cancels[:0]
	return len(s.waiting) == 0
}

// connect runs one connection. It returns the number of messages that were received,
// and why the connection ended.
func (s *Stream) connect() (answered int, err error) {
	ctx, cancel := context.WithCancel(s.life)
	defer cancel()
	conn := s.service.Operate(ctx)
	for name, values := range s.config.Header {
		conn.RequestHeader()[name] = values
	}
	s.wake() // for calls that were queued before the connection
	err = (&Conversation[interrexv1.OperateRequest, interrexv1.OperateResponse]{
		Conn: conn, Accept: s.config.Accept,
		Send: func(ctx context.Context) error { return s.send(ctx, conn) },
		Deliver: func(m *interrexv1.OperateResponse) {
			answered++
			s.deliver(m.Answers)
		},
	}).Run(ctx, cancel)
	if s.life.Err() != nil {
		err = errClosed
	}
	return answered, err
}

// operating is Connect's stream of operations.
type operating = connect.BidiStreamForClient[interrexv1.OperateRequest, interrexv1.OperateResponse]

// send sends the waiting calls, as many as fit into each message, as soon as the
// last message has been sent. It returns nil when ctx ends.
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

// take moves the calls that fit into a message from waiting to open.
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

// sizeOf returns the approximate size of an operation, in bytes.
func sizeOf(op *interrexv1.Operation) int {
	const fields = 64
	return fields + len(op.Body) + len(op.RequestId) + len(op.Fence.GetKey()) + len(op.Caller)
}
