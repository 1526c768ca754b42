package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"

	"github.com/interrex/interrex/wire"
)

// plainly is a transport whose errors say when one side speaks TLS and the
// other does not.
type plainly struct {
	*http.Transport
	heard *atomic.Bool // something has come on a connection, or no port is dialled in the clear
}

func newPlainly(t *http.Transport, clear bool) plainly {
	p := plainly{t, new(atomic.Bool)}
	p.heard.Store(!clear)
	dial := t.DialContext
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return hearing{c, p.heard}, nil
	}
	return p
}

// RoundTrip implements http.RoundTripper. A port with TLS hangs up on HTTP/2 in
// the clear, so a connection that breaks before anything has come may be that.
func (p plainly) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := p.Transport.RoundTrip(r)
	header := tls.RecordHeaderError{}
	switch host := r.URL.Host; {
	case err == nil, r.Context().Err() != nil:
	case errors.As(err, &header):
		err = fmt.Errorf("%s does not serve TLS: write http://%s: %w", host, host, err)
	case wire.NeverLeft(err):
	case !p.heard.Load():
		err = fmt.Errorf("%s hung up without an answer: if it serves TLS, write https://%s: %w", host, host, err)
	}
	return answer, err
}

// hearing notes that something has come.
type hearing struct {
	net.Conn
	heard *atomic.Bool
}

// Read implements net.Conn.
func (h hearing) Read(p []byte) (int, error) {
	n, err := h.Conn.Read(p)
	if n > 0 && !h.heard.Load() {
		h.heard.Store(true)
	}
	return n, err
}
