package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/callstream"
	"github.com/interrex/interrex/internal/wire"
)

func TestAnAddressMayBeHostAndPort(t *testing.T) {
	for text, want := range map[string]address{
		"127.0.0.1:7400":            {scheme: "http", host: "127.0.0.1:7400"},
		"localhost:7400":            {scheme: "http", host: "localhost:7400"},
		":7400":                     {scheme: "http", host: "localhost:7400"},
		"[::1]:7400":                {scheme: "http", host: "[::1]:7400"},
		"http://agent":              {scheme: "http", host: "agent"},
		"https://a.example:7400/":   {scheme: "https", host: "a.example:7400"},
		"unix:///run/interrex.sock": {scheme: "unix", path: "/run/interrex.sock"},
	} {
		if got, err := parseAddress(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"":                        "an address is empty",
		"localhost":               "the port is missing",
		"localhost:":              "the port is missing",
		"localhost:http":          "is not a number",
		"::1":                     "the port is missing",
		"127.0.0.1:7400/api":      "it must not have a path",
		"http://localhost:1/api":  "it must not have a path",
		"tcp://127.0.0.1:7400":    "tcp:// is not supported",
		"http://ann@localhost:1":  "it must not have a user",
		"unix:interrex.sock":      "the path of a socket must be absolute",
		"unix://data/an.sock":     "the path of a socket must be absolute",
		"localhost:65536":         "a port is 1 to 65535",
		"http://localhost:0":      "a port is 1 to 65535",
		"https://localhost:99999": "a port is 1 to 65535",
		"http://":                 "is not valid",
		"http://localhost:7400?x": "is not valid",
	} {
		_, err := parseAddress(text)
		if interrex.KindOf(err) != interrex.ErrInvalid || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), addressForms) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// failure makes one request to an address as an endpoint does, and returns its
// error.
func failure(t *testing.T, scheme, host string, ping time.Duration) error {
	t.Helper()
	h := address{scheme: scheme, host: host}.client(new(trust), Config{}, ping)
	defer h.CloseIdleConnections()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, scheme+"://"+host, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := h.Do(r)
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, answer.Body)
	_ = answer.Body.Close()
	return nil
}

func TestTLSAndPlainAreToldApart(t *testing.T) {
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	defer secure.Close()
	host := plain.Listener.Addr().String()
	if got := failure(t, "https", host, pingAfter); !strings.Contains(fmt.Sprint(got), "does not serve TLS: use http://"+host) {
		t.Errorf("TLS spoken to a plain port: %s", got)
	}
	host = secure.Listener.Addr().String()
	if got := failure(t, "http", host, pingAfter); !strings.Contains(fmt.Sprint(got), host+" serves TLS: use https://"+host+"; if it is a cluster port, use the port of the API: ") || interrex.KindOf(wire.FromError(got, true)) != interrex.ErrUnavailable {
		t.Errorf("no TLS spoken to a port with it: %s", got)
	}
}

func TestAClusterPortIsToldApart(t *testing.T) {
	other := httptest.NewUnstartedServer(http.NotFoundHandler())
	other.Config.ErrorLog = log.New(io.Discard, "", 0)
	other.Config.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){}
	other.TLS = &tls.Config{NextProtos: []string{"another"}}
	other.StartTLS()
	defer other.Close()
	host := other.Listener.Addr().String()
	if got := failure(t, "https", host, pingAfter); !strings.Contains(fmt.Sprint(got), host+" serves TLS but not HTTP: if it is a cluster port, use the port of the API: ") {
		t.Errorf("HTTP spoken to a port without: %v", got)
	}
	if got := failure(t, "http", host, pingAfter); interrex.KindOf(wire.FromError(got, true)) != interrex.ErrUnavailable {
		t.Errorf("HTTP without TLS spoken to it: %v", got)
	}
}

// A working connection that breaks is not mistaken for a port with TLS.
func TestAConnectionThatWasHeardBreaksAsItDoes(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		c, err := listener.Accept()
		if err == nil {
			_, _ = c.Write([]byte{0, 0, 0, 4, 0, 0, 0, 0, 0}) // HTTP/2's settings, all as they are
			_ = c.(*net.TCPConn).CloseWrite()                 // Close could take the settings back
			_, _ = io.Copy(io.Discard, c)
			_ = c.Close()
		}
	}()
	if got := failure(t, "http", listener.Addr().String(), pingAfter); got == nil || strings.Contains(got.Error(), "TLS") {
		t.Errorf("%v", got)
	}
}

// A port that does not respond has not closed the connection.
func TestAPortWithoutAnAnswerIsMute(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if got := failure(t, "http", listener.Addr().String(), time.Millisecond); !errors.Is(got, callstream.ErrSilent) || strings.Contains(got.Error(), "TLS") {
		t.Errorf("%v", got)
	}
}

func TestAnAgentThatFallsSilentOnAStreamIsMute(t *testing.T) {
	err := connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("protocol error: incomplete envelope: %w", errors.New("http2: client connection lost")))
	lost := interrex.Errorf(interrex.ErrOutcomeUnknown, "the stream broke: %s", callstream.Reason(err)).WithCause(err)
	for _, got := range []string{callstream.Reason(err), silence(err), silence(lost)} {
		if got != "no answer" {
			t.Errorf("it says: %s", got)
		}
	}
}

// The requests of a one-shot client end only with their own timeout, not by a ping.
func TestAOneShotClientWaitsForAnAnswerAsLongAsItMay(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	const longer = pingAfter + pingTimeout + 2*time.Second
	c, err := Dial(t.Context(), Config{Addresses: []string{listener.Addr().String()}, Timeout: longer, OneShot: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	began := time.Now()
	_, err = c.Status(t.Context())
	if took := time.Since(began); took < longer || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("after %s: %v", took, err)
	}
}
