package listener

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/interrex/interrex"
)

// clearListener returns connections on which the HTTP server reads and writes in the
// clear, with TLS or without: so both are counted alike.
type clearListener struct {
	*limitedListener
	tls    *tls.Config // nil: no TLS
	logger interrex.Logger
}

func (l *clearListener) Accept() (net.Conn, error) {
	below, err := l.accept()
	if err != nil {
		return nil, err
	}
	c := &clearConn{Conn: below, below: below, logger: l.logger}
	if l.tls != nil {
		c.secure = tls.Server(below, l.tls)
		c.Conn = c.secure
		c.state = sync.OnceValue(func() *tls.ConnectionState {
			state := c.secure.ConnectionState()
			return &state
		})
	}
	return c, nil
}

// clearConn is one of its connections. It has no ConnectionState, since the HTTP server
// would expect no HTTP/2 in the clear on it.
type clearConn struct {
	net.Conn
	below  *limitedConn
	secure *tls.Conn                   // nil: no TLS
	tried  bool                        // the handshake
	state  func() *tls.ConnectionState // of secure
	frames frames
	logger interrex.Logger
}

// Read implements net.Conn.
func (c *clearConn) Read(p []byte) (int, error) {
	if c.secure != nil && !c.tried {
		c.tried = true
		if err := c.handshake(); err != nil {
			return 0, err
		}
	}
	n, err := c.Conn.Read(p)
	c.wasted(c.frames.received(p[:n]))
	return n, err
}

// Write implements net.Conn.
func (c *clearConn) Write(p []byte) (int, error) {
	c.wasted(c.frames.sent(p))
	return c.Conn.Write(p)
}

func (c *clearConn) wasted(n int) {
	for range n {
		c.below.waste()
	}
}

// handshake makes the TLS handshake. The server has set a deadline for what it reads.
func (c *clearConn) handshake() error {
	_ = c.SetWriteDeadline(time.Now().Add(readHeaderTimeout))
	err := c.secure.Handshake()
	if err == nil {
		return c.SetWriteDeadline(time.Time{})
	}
	if plain := (tls.RecordHeaderError{}); errors.As(err, &plain) && plain.Conn != nil && beginsHTTP(plain.RecordHeader) {
		_, _ = io.WriteString(plain.Conn, "HTTP/1.0 400 Bad Request\r\n\r\nThis port is served with TLS: use https.\n")
	}
	c.logger.Debugf("no TLS with %s: %v", c.RemoteAddr(), err)
	return err
}

// beginsHTTP reports whether what should be the head of a TLS record begins a request.
func beginsHTTP(head [5]byte) bool {
	method, _, _ := strings.Cut(string(head[:]), " ")
	return slices.ContainsFunc([]string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}, func(known string) bool {
		return method == known[:min(len(known), len(head))]
	})
}

// CloseWrite tells the peer that nothing more is sent. The server does so after an answer
// that ends a connection, and closes it a moment later, since a peer that is still sending
// could lose the answer.
func (c *clearConn) CloseWrite() error {
	if c.secure != nil {
		return c.secure.CloseWrite()
	}
	if half, can := c.below.Conn.(interface{ CloseWrite() error }); can {
		return half.CloseWrite()
	}
	return nil
}

// NetConn returns the connection that was accepted, for Config.ConnContext.
func (c *clearConn) NetConn() net.Conn { return c.below.Conn }

type secureKey struct{}

// connContext returns the context of a connection's requests.
func (l *Listener) connContext(ctx context.Context, c net.Conn) context.Context {
	if known, is := c.(*clearConn); is && known.secure != nil {
		ctx = context.WithValue(ctx, secureKey{}, known)
	}
	if l.config.ConnContext == nil {
		return ctx
	}
	return l.config.ConnContext(ctx, c)
}

// withTLS returns a handler that tells the next one of the TLS below the connection.
func withTLS(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, is := r.Context().Value(secureKey{}).(*clearConn); is {
			r.TLS = c.state()
		}
		next.ServeHTTP(w, r)
	})
}
