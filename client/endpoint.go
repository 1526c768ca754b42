package client

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"

	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/accesstoken"
	"github.com/interrex/interrex/internal/callstream"
)

// An idle connection is pinged after pingAfter, and closed if there is no response:
// a machine that has gone does not close its connections.
const (
	dialTimeout = 3 * time.Second
	pingAfter   = 5 * time.Second
	pingTimeout = 5 * time.Second
)

// endpoint is one agent, and the ways to call it.
type endpoint struct {
	address
	url     string
	http    *http.Client // for streams
	calls   *http.Client // for unary calls; those of a one-shot client, which are few and bounded, are not cut short by pings
	stream  *callstream.Stream
	watches *watchStreams
	epochs  *epochs
	engine  interrexv1.EngineServiceClient
	silent  atomic.Pointer[string] // why it did not respond last time; nil if it did
}

// String returns the address as Config.Addresses has it.
func (p *endpoint) String() string { return p.scheme + "://" + p.host + p.path }

// newEndpoint returns an endpoint for one agent. It does not connect yet.
func newEndpoint(s string, files *trust, c Config, e *epochs) (*endpoint, error) {
	a, err := parseAddress(s)
	if err != nil {
		return nil, err
	}
	p := &endpoint{address: a, epochs: e}
	p.url = p.String()
	p.http = a.client(files, c, pingAfter)
	p.calls = p.http
	if c.OneShot {
		p.calls = a.client(files, c, 0)
	}
	if a.scheme == "unix" {
		p.url = "http://localhost"
	}
	p.stream, err = callstream.New(callstream.Config{HTTP: p.http, BaseURL: p.url, Logger: c.Logger, Accept: e.accept})
	if err != nil {
		return nil, err
	}
	p.watches = newWatchStreams(p.http, p.url, e.accept)
	epochs := connect.WithInterceptors(connect.UnaryInterceptorFunc(e.unary))
	p.engine = interrexv1.NewEngineServiceClient(p.calls, p.url, epochs)
	return p, nil
}

// client returns an HTTP client with its own connections, which are pinged when they
// are idle for ping; 0: never.
func (a address) client(files *trust, c Config, ping time.Duration) *http.Client {
	t := a.transport(files, c.Dial)
	t.HTTP2.SendPingTimeout = ping
	plain := newPlainly(t, a.scheme == "http" && c.Dial == nil)
	if a.scheme == "unix" || c.Token == "" && c.TokenFile == "" {
		return &http.Client{Transport: plain}
	}
	by := &bearer{plain: plain, token: c.Token}
	if c.TokenFile != "" {
		by.file = &accesstoken.File{Path: c.TokenFile}
	}
	return &http.Client{Transport: by}
}

// transport returns a transport that only speaks HTTP/2, which bidirectional streams
// need; without TLS, with prior knowledge.
func (a address) transport(files *trust, dial func(context.Context, string, string) (net.Conn, error)) *http.Transport {
	dialer := &net.Dialer{Timeout: dialTimeout}
	t := &http.Transport{
		DialContext:         dialer.DialContext,
		TLSClientConfig:     files.config(a.name()),
		TLSHandshakeTimeout: dialTimeout,
		Protocols:           &http.Protocols{},
		HTTP2:               &http.HTTP2Config{PingTimeout: pingTimeout, WriteByteTimeout: pingTimeout},
	}
	t.Protocols.SetHTTP2(a.scheme == "https")
	t.Protocols.SetUnencryptedHTTP2(a.scheme != "https")
	if dial != nil {
		t.DialContext = dial
	} else if a.scheme == "unix" {
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", a.path)
		}
	}
	return t
}

// close ends the streams and the connections.
func (p *endpoint) close() {
	p.watches.close()
	_ = p.stream.Close()
	p.calls.CloseIdleConnections()
	p.http.CloseIdleConnections()
}
