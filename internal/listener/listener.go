package listener

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/catacomb"

	"github.com/interrex/interrex"
)

// Defaults and limits of a Listener.
const (
	DefaultMaxConnections = 16384
	DefaultStopTimeout    = 5 * time.Second

	maxHeaderBytes    = 16 << 10  // many short fields take twenty times as much memory
	maxStreams        = 1024      // requests at once on one HTTP/2 connection
	receiveBuffer     = 128 << 10 // bytes of such a request that may arrive before its handler reads them
	readHeaderTimeout = 5 * time.Second
	idleTimeout       = 2 * time.Minute
	pingAfter         = 15 * time.Second // of silence on an HTTP/2 connection
	pingTimeout       = 10 * time.Second
	writeTimeout      = 30 * time.Second
)

// Config configures a Listener.
type Config struct {
	// Listener belongs to the worker once New is called, even if New fails.
	Listener net.Listener
	Handler  http.Handler
	// TLS is offered with ALPN for HTTP/2 and HTTP/1.1. nil: no TLS, and HTTP/2
	// with prior knowledge.
	TLS *tls.Config
	// OnlyHTTP1 leaves out HTTP/2, so that a peer that has proved nothing has one request
	// at a time on each of its connections.
	OnlyHTTP1 bool
	Logger    interrex.Logger
	// ConnContext, if not nil, returns the context of a connection's requests.
	ConnContext func(context.Context, net.Conn) context.Context
	// MaxConnections is how many connections may be open, and a quarter of it how many
	// from one address; further ones are closed immediately. 0: DefaultMaxConnections.
	MaxConnections int
	Metrics        *Metrics // nil: its connections are not counted
	// Closing, if not nil, is called when the worker is killed, before it waits for
	// active requests: those that may last long should end.
	Closing func()
	// StopTimeout is how long active requests may take once the worker is killed.
	// Then their connections are closed. 0: DefaultStopTimeout.
	StopTimeout time.Duration
	// Rest, if not nil, takes over the active requests of a killed worker, which then
	// ends as soon as it no longer accepts connections, so that another one can.
	// nil: the worker waits for them itself.
	Rest *sync.WaitGroup
}

// Validate reports the first field that is not valid.
func (c Config) Validate() error {
	switch {
	case c.Listener == nil:
		return errors.New("nil Listener not valid")
	case c.Handler == nil:
		return errors.New("nil Handler not valid")
	case c.Logger == nil:
		return errors.New("nil Logger not valid")
	case c.MaxConnections < 0:
		return errors.New("negative MaxConnections not valid")
	case c.StopTimeout < 0:
		return errors.New("negative StopTimeout not valid")
	}
	return nil
}

// Listener is a worker.Worker that serves one net.Listener with HTTP/1.1 and
// HTTP/2.
type Listener struct {
	catacomb catacomb.Catacomb
	config   Config
	server   *http.Server
	limited  *limitedListener
	handling context.CancelFunc // cancels the active requests
}

var _ worker.Worker = (*Listener)(nil)

// New starts a Listener.
func New(c Config) (*Listener, error) {
	if err := c.Validate(); err != nil {
		if c.Listener != nil {
			_ = c.Listener.Close() // the other error is reported
		}
		return nil, err
	}
	c.StopTimeout = cmp.Or(c.StopTimeout, DefaultStopTimeout)
	l := &Listener{
		config:  c,
		limited: newLimited(c),
	}
	l.server = l.newServer()
	if err := catacomb.Invoke(catacomb.Plan{Site: &l.catacomb, Work: l.loop}); err != nil {
		_ = c.Listener.Close() // the other error is reported
		return nil, err
	}
	return l, nil
}

func (l *Listener) newServer() *http.Server {
	base, cancel := context.WithCancel(context.Background())
	l.handling = cancel
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(!l.config.OnlyHTTP1) // also with TLS, which is below
	return &http.Server{
		Handler:           withTLS(l.config.Handler),
		Protocols:         protocols,
		BaseContext:       func(net.Listener) context.Context { return base },
		ConnContext:       l.connContext,
		ErrorLog:          log.New(&lineLogger{l.config.Logger}, "", 0),
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:      maxStreams,
			MaxReceiveBufferPerStream: receiveBuffer,
			SendPingTimeout:           pingAfter,
			PingTimeout:               pingTimeout,
			WriteByteTimeout:          writeTimeout,
		},
	}
}

// withALPN returns a configuration that also offers HTTP/1.1 and, unless it is left out,
// HTTP/2.
func withALPN(c *tls.Config, onlyHTTP1 bool) *tls.Config {
	offers := []string{"h2", "http/1.1"}
	if onlyHTTP1 {
		offers = offers[1:]
	}
	c = c.Clone()
	if !slices.Contains(c.NextProtos, offers[0]) {
		c.NextProtos = append(offers, c.NextProtos...)
	}
	return c
}

// Addr returns the address on which it listens.
func (l *Listener) Addr() net.Addr { return l.config.Listener.Addr() }

// Kill implements worker.Worker.
func (l *Listener) Kill() { l.catacomb.Kill(nil) }

// Wait implements worker.Worker.
func (l *Listener) Wait() error { return l.catacomb.Wait() }

// Report returns the address and the number of open connections.
func (l *Listener) Report() map[string]any {
	return map[string]any{
		"address":     l.Addr().String(),
		"connections": l.limited.count(),
		"tls":         l.config.TLS != nil,
	}
}

func (l *Listener) loop() error {
	served := make(chan error, 1)
	go func() { served <- l.serve() }()
	select {
	case err := <-served:
		l.handling()
		_ = l.server.Close() // the other error is reported
		return fmt.Errorf("cannot serve %s: %w", l.Addr(), err)
	case <-l.catacomb.Dying():
	}
	if l.config.Closing != nil {
		l.config.Closing()
	}
	if l.config.Rest != nil {
		l.config.Rest.Go(l.stop)
	} else {
		l.stop()
	}
	<-served
	return l.catacomb.ErrDying()
}

func (l *Listener) serve() error {
	in := &clearListener{limitedListener: l.limited, logger: l.config.Logger}
	if l.config.TLS != nil {
		in.tls = withALPN(l.config.TLS, l.config.OnlyHTTP1)
	}
	return l.server.Serve(in)
}

// stop waits for active requests, for at most StopTimeout, and then closes their
// connections.
func (l *Listener) stop() {
	defer l.handling()
	ctx, cancel := context.WithTimeout(context.Background(), l.config.StopTimeout)
	defer cancel()
	if err := l.server.Shutdown(ctx); err == nil {
		return
	}
	l.config.Logger.Warningf("requests on %s were still active after %v: their connections are closed", l.Addr(), l.config.StopTimeout)
	if err := l.server.Close(); err != nil {
		l.config.Logger.Warningf("cannot close %s: %v", l.Addr(), err)
	}
}

// lineLogger logs the HTTP server's lines at debug level: they are about callers'
// mistakes.
type lineLogger struct{ logger interrex.Logger }

func (l *lineLogger) Write(p []byte) (int, error) {
	l.logger.Debugf("%s", strings.TrimSpace(string(p)))
	return len(p), nil
}
