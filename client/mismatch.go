package client

import (
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

	"github.com/interrex/interrex/internal/wire"
)

// plainly is a transport whose errors say when one side speaks TLS and the
// other does not.
type plainly struct {
	*http.Transport
	*history
}

// history is what the connections of a transport have seen.
type history struct {
	heard  atomic.Bool // something has come, or no port is dialled in the clear
	hungUp atomic.Bool // the other side has ended one
}

func newPlainly(t *http.Transport, clear bool) plainly {
	p := plainly{t, new(history)}
	p.heard.Store(!clear)
	dial := t.DialContext
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return hearing{c, p.history}, nil
	}
	return p
}

// errMute ends a connection on which nothing has come for pingAfter and
// pingTimeout.
var errMute = errors.New("no answer")

// noApplicationProtocol is the text of TLS's alert from a port that does not speak
// HTTP, which has no type.
const noApplicationProtocol = "tls: no application protocol"

// RoundTrip implements http.RoundTripper. A port with TLS hangs up on HTTP/2 in
// the clear, so a connection that the other side ends before anything has come
// may be that.
func (p plainly) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := p.Transport.RoundTrip(r)
	header := tls.RecordHeaderError{}
	switch host := r.URL.Host; {
	case err == nil, r.Context().Err() != nil:
	case errors.As(err, &header):
		err = fmt.Errorf("%s does not serve TLS: write http://%s: %w", host, host, err)
	case strings.HasSuffix(err.Error(), noApplicationProtocol):
		err = fmt.Errorf("%s serves TLS and no HTTP: if it is a cluster port, write the port of the API: %w", host, err)
	case wire.NeverLeft(err):
	case isMute(err):
		err = errMute
	case !p.heard.Load() && p.hungUp.Load():
		err = fmt.Errorf("%s hung up without an answer: if it serves TLS, write https://%s, and if it is a cluster port, the port of the API: %w", host, host, err)
	}
	return answer, err
}

// lostPing is the text of net/http's error of a ping without an answer, which has
// no type.
const lostPing = "http2: client connection lost"

// isMute reports whether err says that a ping was not answered: when a stream was
// open, libraries have written more in front of it.
func isMute(err error) bool {
	return errors.Is(err, errMute) || strings.HasSuffix(err.Error(), lostPing)
}

// hearing notes that something has come, and that the other side has hung up.
type hearing struct {
	net.Conn
	*history
}

// Read implements net.Conn.
func (h hearing) Read(p []byte) (int, error) {
	n, err := h.Conn.Read(p)
	if n > 0 && !h.heard.Load() {
		h.heard.Store(true)
	}
	h.note(err)
	return n, err
}

// Write implements net.Conn.
func (h hearing) Write(p []byte) (int, error) {
	n, err := h.Conn.Write(p)
	h.note(err)
	return n, err
}

func (h hearing) note(err error) {
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		h.hungUp.Store(true)
	}
}
