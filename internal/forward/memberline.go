package forward

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/interrex/interrex/internal/certificates"
	"github.com/interrex/interrex/internal/inbound"
	"github.com/interrex/interrex/transport"
)

// dialTimeout bounds a connection to a member, with its TLS handshake.
const dialTimeout = 3 * time.Second

// memberLine has the connections to one member.
type memberLine struct {
	*http.Transport
	address string
}

func newMemberLine(address string, given transport.TLS, dialer transport.Dialer) *memberLine {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true) // the connection is TLS already
	return &memberLine{address: address, Transport: &http.Transport{
		Protocols: protocols,
		// A member that is paused, or cut off, must not block a request for ever.
		HTTP2: &http.HTTP2Config{SendPingTimeout: silence, PingTimeout: silence, WriteByteTimeout: silence},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, err := Dial(ctx, address, given, dialer)
			if err != nil {
				return nil, &dialError{err}
			}
			return conn, nil
		},
		DisableCompression: true, // it passes as the caller and the member want it
	}}
}

// Dial connects to a member, as an agent without raft: the other end speaks HTTP/2 with
// prior knowledge. It takes at most 3 s, or until ctx ends.
func Dial(ctx context.Context, address string, given transport.TLS, dialer transport.Dialer) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	config, err := certificates.Client(given, "", transport.ForwardProtocol)
	if err != nil {
		return nil, err
	}
	if dialer == nil {
		dialer = &net.Dialer{KeepAlive: -1} // inbound.Tune sets it
	}
	raw, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	inbound.Tune(raw)
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, fmt.Errorf("the other end is no member, or one of the two does not accept the other's certificate: %w", err)
	}
	return conn, nil
}

// dialError is the error of a connection that was not made: nothing was sent.
type dialError struct{ err error }

func (e *dialError) Error() string { return e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

func isUnsent(err error) bool {
	var unsent *dialError
	return errors.As(err, &unsent)
}

// watchedBody notes whether anything of a request's body was read: then it cannot be sent
// again.
type watchedBody struct {
	io.ReadCloser
	read atomic.Bool
}

func (b *watchedBody) Read(p []byte) (int, error) {
	b.read.Store(true)
	return b.ReadCloser.Read(p)
}

// Close closes the body unless nothing was read of it: it may be sent to another member,
// and its server closes it.
func (b *watchedBody) Close() error {
	if !b.read.Load() {
		return nil
	}
	return b.ReadCloser.Close()
}
