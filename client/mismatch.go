package client

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/interrex/interrex/internal/callstream"
	"github.com/interrex/interrex/internal/wire"
)

// plainly is a transport whose errors say when one side uses TLS and the other does
// not, and when the other one redirects: another host must not get a request and its
// access token.
type plainly struct {
	*http.Transport
	*history
	dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// history records what happened on the connections of a transport.
type history struct {
	received atomic.Bool // something was received, or TLS is used
	hungUp   atomic.Bool // the peer has closed a connection
}

func newPlainly(t *http.Transport, clear bool) plainly {
	dial := t.DialContext
	p := plainly{t, new(history), dial}
	p.received.Store(!clear)
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return watchedConn{c, p.history}, nil
	}
	return p
}

// noApplicationProtocol is the text of the TLS alert of a port that does not serve
// HTTP; the alert has no type.
const noApplicationProtocol = "tls: no application protocol"

// RoundTrip implements http.RoundTripper. A port with TLS closes a connection with
// cleartext HTTP/2, so a connection that is closed before anything was received may
// be to such a port.
func (p plainly) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := p.Transport.RoundTrip(r)
	header := tls.RecordHeaderError{}
	switch host := r.URL.Host; {
	case err == nil && answer.StatusCode/100 == 3:
		_ = answer.Body.Close()
		return nil, fmt.Errorf("%s is not an agent: it redirects to %s, which is not followed; use the address of an agent", host, cmp.Or(answer.Header.Get("Location"), "nowhere"))
	case err == nil, r.Context().Err() != nil:
	case errors.As(err, &header):
		err = fmt.Errorf("%s does not serve TLS: use http://%s: %w", host, host, err)
	case strings.HasSuffix(err.Error(), noApplicationProtocol):
		err = fmt.Errorf("%s serves TLS but not HTTP: if it is a cluster port, use the port of the API: %w", host, err)
	case wire.NeverLeft(err):
	case callstream.IsSilent(err):
		err = callstream.ErrSilent
	case !p.received.Load() && p.hungUp.Load() && p.servesTLS(r.Context(), host):
		err = fmt.Errorf("%s serves TLS: use https://%s; if it is a cluster port, use the port of the API: %w", host, host, wire.ErrServesTLS)
	case !p.received.Load() && p.hungUp.Load():
		err = fmt.Errorf("%s closed the connection without a response: if it serves TLS, use https://%s; if it is a cluster port, use the port of the API: %w", host, host, err)
	}
	return answer, err
}

// handshakeTimeout bounds the check whether a port serves TLS.
const handshakeTimeout = 2 * time.Second

// servesTLS reports whether a port answers a TLS handshake, even by refusing it.
func (p plainly) servesTLS(ctx context.Context, host string) bool {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	c, err := p.dial(ctx, "tcp", host)
	if err != nil {
		return false
	}
	defer c.Close()
	name, _, _ := net.SplitHostPort(host)
	err = tls.Client(c, &tls.Config{ServerName: name}).HandshakeContext(ctx)
	var cert *tls.CertificateVerificationError
	var alert *net.OpError
	return err == nil || errors.As(err, &cert) || errors.As(err, &alert) && alert.Op == "remote error"
}

// watchedConn is a connection that records whether anything was received, and whether
// the peer has closed it.
type watchedConn struct {
	net.Conn
	*history
}

// Read implements net.Conn.
func (h watchedConn) Read(p []byte) (int, error) {
	n, err := h.Conn.Read(p)
	if n > 0 && !h.received.Load() {
		h.received.Store(true)
	}
	h.note(err)
	return n, err
}

// Write implements net.Conn.
func (h watchedConn) Write(p []byte) (int, error) {
	n, err := h.Conn.Write(p)
	h.note(err)
	return n, err
}

func (h watchedConn) note(err error) {
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		h.hungUp.Store(true)
	}
}
