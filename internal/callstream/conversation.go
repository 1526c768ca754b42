package callstream

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"connectrpc.com/connect"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/wire"
)

// Timeouts of a conversation.
const (
	// greetTimeout is how long an agent may take to send its headers.
	greetTimeout = 5 * time.Second
	// reasonPause is how long to wait for the receiver to report why a message could
	// not be sent.
	reasonPause = time.Second
)

// Conversation is one connection to an agent, in both directions.
type Conversation[Q, A any] struct {
	Conn   *connect.BidiStreamForClient[Q, A]
	Accept func(http.Header) error // checks the agent's headers; nil: accepts all
	// Send sends messages until ctx ends, and then returns nil.
	Send    func(ctx context.Context) error
	Deliver func(*A)
}

// Run returns once the conversation has ended, with the reason. cancel cancels ctx,
// which is the context of the connection.
func (c *Conversation[Q, A]) Run(ctx context.Context, cancel func()) (err error) {
	greeted, received := make(chan struct{}), make(chan error, 1)
	go func() {
		defer cancel() // a Send that is blocked ends too
		received <- c.receive(cancel, greeted)
	}()
	var sendErr error
	select {
	case <-greeted:
		sendErr = c.Send(ctx)
	case <-ctx.Done():
	}
	// HTTP/2 notices the end of ctx only when it is not waiting for a message to
	// send: without this, a receiver would wait forever for an agent that is silent.
	_ = c.Conn.CloseRequest()
	select {
	case err = <-received: // it ended, and send has too
	default:
		err = await(received, sendErr, cancel)
	}
	_ = c.Conn.CloseResponse()
	return err
}

// await returns why nothing more can be sent: an error of sending itself, or else
// what the receiver learns within reasonPause.
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

// receive greets the agent and delivers its messages until the connection ends.
//
// An agent sends its headers first. Nothing is sent to it before they have arrived
// and been accepted, so until then every message has provably not left. Nothing is sent
// on a stream that is refused either: then Receive returns the reason.
func (c *Conversation[Q, A]) receive(cancel func(), greeted chan<- struct{}) error {
	if err := c.Conn.Send(nil); err != nil {
		return err
	}
	timer := time.AfterFunc(greetTimeout, cancel)
	header := c.Conn.ResponseHeader()
	if !timer.Stop() {
		return interrex.Errorf(interrex.ErrUnavailable, "the agent has not answered the connection within %s", greetTimeout)
	}
	if len(header) > 0 { // otherwise the request has failed, and Receive returns the reason
		if c.Accept != nil {
			if err := c.Accept(header); err != nil {
				return err
			}
		}
		if header.Get(wire.HeaderRefused) == "" {
			close(greeted)
		}
	}
	for {
		m, err := c.Conn.Receive()
		if err != nil {
			return err
		}
		c.Deliver(m)
	}
}
