package listener

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/interrex/interrex/internal/silent"
)

// conn is a connection that records that it is closed.
type conn struct {
	net.Conn
	from   net.IP
	closed int
}

func (c *conn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: c.from} }

func (c *conn) Close() error { c.closed++; return nil }

// accepting is a listener with prepared connections.
type accepting struct {
	next   []*conn
	closed int
}

func (a *accepting) Accept() (net.Conn, error) {
	if len(a.next) == 0 {
		return nil, net.ErrClosed
	}
	c := a.next[0]
	a.next = a.next[1:]
	return c, nil
}

func (a *accepting) Close() error { a.closed++; return nil }

func (a *accepting) Addr() net.Addr { return &net.TCPAddr{} }

// lines is a logger that counts warnings.
type lines struct {
	silent.Logger
	mu       sync.Mutex
	warnings int
}

func (l *lines) Warningf(string, ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.warnings++
}

func TestConnectionsBeyondTheLimitAreClosedAtOnce(t *testing.T) {
	first, second, third, fourth := &conn{}, &conn{}, &conn{}, &conn{}
	log := &lines{}
	l := newLimited(Config{Listener: &accepting{next: []*conn{first, second, third, fourth}}, MaxConnections: 1, Logger: log})
	in, err := l.accept()
	if err != nil || in.Conn != first {
		t.Fatalf("got %v, %v", in, err)
	}
	if _, err := l.accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a connection too many is accepted: %v", err)
	}
	if second.closed != 1 || third.closed != 1 || fourth.closed != 1 || first.closed != 0 || log.warnings != 1 {
		t.Errorf("closed are %v %v %v %v, with %d warnings", *first, *second, *third, *fourth, log.warnings)
	}
	for range 2 { // the second one frees no other's slot
		_ = in.Close()
	}
	if l.count() != 0 || len(l.from) != 0 {
		t.Error("its place is not free")
	}
	l.Listener = &accepting{next: []*conn{{}}}
	if _, err := l.accept(); err != nil {
		t.Errorf("the free slot is not given: %v", err)
	}
}

func TestAListenerThatIsNotValidIsClosed(t *testing.T) {
	valid := Config{Handler: http.NotFoundHandler(), Logger: silent.Logger{}}
	for what, change := range map[string]func(*Config){
		"no handler":           func(c *Config) { c.Handler = nil },
		"no logger":            func(c *Config) { c.Logger = nil },
		"negative connections": func(c *Config) { c.MaxConnections = -1 },
		"a negative timeout":   func(c *Config) { c.StopTimeout = -1 },
	} {
		in, c := &accepting{}, valid
		c.Listener = in
		change(&c)
		if _, err := New(c); err == nil || in.closed != 1 {
			t.Errorf("%s: got %v, and it is closed %d times", what, err, in.closed)
		}
	}
	if _, err := New(valid); err == nil {
		t.Error("a worker without a listener")
	}
}

func TestEveryConnectionHasLimits(t *testing.T) {
	l := &Listener{config: Config{Logger: silent.Logger{}}}
	s := l.newServer()
	l.handling()
	for what, limited := range map[string]bool{
		"headers": s.ReadHeaderTimeout > 0 && s.MaxHeaderBytes > 0 && s.MaxHeaderBytes <= 16<<10, "idling": s.IdleTimeout > 0,
		"requests at once": s.HTTP2.MaxConcurrentStreams > 0, "silence": s.HTTP2.SendPingTimeout > 0 && s.HTTP2.PingTimeout > 0,
		"writes": s.HTTP2.WriteByteTimeout > 0,
	} {
		if !limited {
			t.Errorf("%s has no limit", what)
		}
	}
}

func TestTLSOffersWhatIsServed(t *testing.T) {
	given := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"mine"}}
	for only, want := range map[bool][]string{false: {"h2", "http/1.1", "mine"}, true: {"http/1.1", "mine"}} {
		if got := withALPN(given, only).NextProtos; !slices.Equal(got, want) || len(given.NextProtos) != 1 {
			t.Errorf("only HTTP/1.1 %v: it offers %q, and %q is left", only, got, given.NextProtos)
		}
	}
	given.NextProtos = []string{"h2"}
	if got := withALPN(given, false).NextProtos; !slices.Equal(got, given.NextProtos) {
		t.Errorf("one that offers HTTP/2 is changed to %q", got)
	}
}

// begun starts a Listener whose handler is in a request.
func begun(t *testing.T, timeout time.Duration, handle func(*http.Request)) (l *Listener, answer func() (string, error), log *lines) {
	t.Helper()
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	in := make(chan struct{})
	log = &lines{}
	l, err = New(Config{Listener: socket, Logger: log, StopTimeout: timeout, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(in)
		handle(r)
		_, _ = io.WriteString(w, "done")
	})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Kill(); _ = l.Wait() })
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	<-in
	return l, func() (string, error) {
		a, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			return "", err
		}
		defer a.Body.Close()
		text, err := io.ReadAll(a.Body)
		return string(text), err
	}, log
}

func TestAStopWaitsForRequests(t *testing.T) {
	release := make(chan struct{})
	l, answer, log := begun(t, time.Minute, func(*http.Request) { <-release })
	if n := l.Report()["connections"]; n != 1 {
		t.Errorf("%v connections are reported", n)
	}
	l.Kill()
	close(release)
	if text, err := answer(); text != "done" || err != nil {
		t.Errorf("got %q, %v", text, err)
	}
	if err := l.Wait(); err != nil || log.warnings != 0 {
		t.Errorf("%v, %d warnings", err, log.warnings)
	}
}

func TestAStopEndsRequestsAfterItsTime(t *testing.T) {
	l, answer, log := begun(t, time.Millisecond, func(r *http.Request) { <-r.Context().Done() })
	l.Kill()
	if err := l.Wait(); err != nil || log.warnings != 1 {
		t.Errorf("%v, %d warnings", err, log.warnings)
	}
	if text, err := answer(); err == nil {
		t.Errorf("its connection is open: %q", text)
	}
}

func TestAListenerWhoseSocketFailsSaysSo(t *testing.T) {
	l, _, _ := begun(t, time.Minute, func(r *http.Request) { <-r.Context().Done() })
	_ = l.config.Listener.Close()
	if err := l.Wait(); err == nil || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Errorf("got %v", err)
	}
}
