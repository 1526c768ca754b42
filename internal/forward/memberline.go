package forward

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/interrex/interrex/internal/certificates"
	"github.com/interrex/interrex/internal/inbound"
	"github.com/interrex/interrex/internal/peercall"
	"github.com/interrex/interrex/internal/peering"
	"github.com/interrex/interrex/transport"
)

// lineConns is how many connections there are to one member at most: many requests that
// come at once, as after a loss of the former member, must not make one each. lineRequests
// is how many requests fit on them, with room for this agent's own.
const (
	lineConns    = 8
	lineRequests = lineConns*1024 - 64
)

// dialTimeout bounds a connection to a member, with its TLS handshake.
const dialTimeout = 3 * time.Second

// memberLine has the connections to one member.
type memberLine struct {
	*http.Transport
	address string

	mu     sync.Mutex
	conns  map[*lineConn]bool // those that are open
	failed error              // of the last connection that was not made
	at     time.Time          // of that
}

// call makes one request of this agent's own to a member. mark changes its header.
func call[A any](ctx context.Context, l *memberLine, mark func(http.Header), path string, q any) (*A, error) {
	body, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	post, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://member"+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	mark(post.Header)
	response, err := l.RoundTrip(post)
	if err != nil {
		return nil, err
	}
	return peercall.Read[A](l.address, response)
}

// cut closes all connections. What was open on them fails, and its caller repeats it.
func (l *memberLine) cut() {
	l.mu.Lock()
	conns := slices.Collect(maps.Keys(l.conns))
	l.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
	}
}

// failPause is how long requests fail at once after a connection was not made: those that
// have waited for one go to another member together.
const failPause = 200 * time.Millisecond

// justFailed returns why a connection was not made just now; nil: one may be made.
func (l *memberLine) justFailed() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed == nil || time.Since(l.at) >= failPause {
		return nil
	}
	return l.failed
}

func (l *memberLine) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed, l.at = err, time.Now()
}

// lineConn is a connection of a memberLine.
type lineConn struct {
	net.Conn
	line *memberLine
}

// Close implements net.Conn.
func (c *lineConn) Close() error {
	c.line.mu.Lock()
	delete(c.line.conns, c)
	c.line.mu.Unlock()
	return c.Conn.Close()
}

// newMemberLine returns a member's line. It connects when it is used.
func newMemberLine(address string, given transport.TLS, dialer transport.Dialer) *memberLine {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true) // the connection is TLS already
	l := &memberLine{address: address, conns: map[*lineConn]bool{}}
	l.Transport = &http.Transport{
		Protocols: protocols, MaxConnsPerHost: lineConns,
		// A member that is paused, or cut off, must not block a request for ever.
		HTTP2: &http.HTTP2Config{SendPingTimeout: silence, PingTimeout: silence, WriteByteTimeout: silence},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			if err := l.justFailed(); err != nil {
				return nil, &dialError{err}
			}
			conn, err := Dial(ctx, address, given, dialer)
			if err != nil {
				if ctx.Err() == nil { // its request still wants it
					l.fail(err)
				}
				return nil, &dialError{err}
			}
			c := &lineConn{conn, l}
			l.mu.Lock()
			defer l.mu.Unlock()
			l.conns[c] = true
			return c, nil
		},
		DisableCompression: true, // it passes as the caller and the member want it
	}
	return l
}

// Dial connects to a member, as an agent without raft: the other end speaks HTTP/2 with
// prior knowledge. It takes at most 3 s, or until ctx ends.
func Dial(ctx context.Context, address string, given transport.TLS, dialer transport.Dialer) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	config, err := certificates.Client(given, "", peering.ForwardProtocol)
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
		return nil, &handshakeError{err}
	}
	return conn, nil
}

// distrusted reports whether one end does not accept the other's certificate.
func distrusted(err error) bool {
	var ours *tls.CertificateVerificationError
	var theirs *net.OpError
	return errors.As(err, &ours) || errors.As(err, &theirs) && theirs.Op == "remote error"
}

// handshakeError is the error of a handshake. It says only what matters of it.
type handshakeError struct{ err error }

func (e *handshakeError) Error() string {
	var unknown x509.UnknownAuthorityError
	if errors.As(e.err, &unknown) {
		return "its certificate is of a CA that this agent does not trust"
	}
	return "the other end is not a member, or one of the two does not accept the other's certificate: " + e.err.Error()
}

func (e *handshakeError) Unwrap() error { return e.err }

// dialError is the error of a connection that was not made: nothing was sent.
type dialError struct{ err error }

func (e *dialError) Error() string { return e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

func isUnsent(err error) bool {
	var unsent *dialError
	return errors.As(err, &unsent)
}

// watchedBody is a request's body for one member. It notes whether anything of the body was
// read: then it cannot be sent to another one.
type watchedBody struct {
	io.ReadCloser
	mu           sync.Mutex
	read, closed bool
}

// Read implements io.Reader. A body that was closed is not read any more: its Close did
// not end a read that begins later.
func (b *watchedBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return 0, http.ErrBodyReadAfterClose
	}
	b.read = true
	b.mu.Unlock()
	return b.ReadCloser.Read(p)
}

// Close closes the body unless nothing was read of it: it may be sent to another member,
// and its server closes it.
func (b *watchedBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	if !b.read {
		return nil
	}
	return b.ReadCloser.Close()
}

func (b *watchedBody) wasRead() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.read
}
