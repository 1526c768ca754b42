package client

import (
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/interrex/interrex"
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
		"127.0.0.1:7400/api":      "it has a path",
		"http://localhost:1/api":  "it has a path",
		"tcp://127.0.0.1:7400":    "tcp:// is not served",
		"http://ann@localhost:1":  "it has a user",
		"unix:interrex.sock":      "the path of a socket is absolute",
		"unix://data/an.sock":     "the path of a socket is absolute",
		"http://":                 "is not valid",
		"http://localhost:7400?x": "is not valid",
	} {
		_, err := parseAddress(text)
		if interrex.KindOf(err) != interrex.KindInvalid || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), addressForms) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// failure makes one request to an address as an endpoint does, and gives what
// it failed with.
func failure(t *testing.T, scheme, host string) string {
	t.Helper()
	transport := newPlainly(address{scheme: scheme, host: host}.transport(nil, nil), scheme == "http")
	defer transport.CloseIdleConnections()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, scheme+"://"+host, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		return err.Error()
	}
	_, _ = io.Copy(io.Discard, answer.Body)
	_ = answer.Body.Close()
	return ""
}

func TestTLSAndPlainAreToldApart(t *testing.T) {
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	defer secure.Close()
	host := plain.Listener.Addr().String()
	if got := failure(t, "https", host); !strings.Contains(got, "does not serve TLS: write http://"+host) {
		t.Errorf("TLS spoken to a plain port: %s", got)
	}
	host = secure.Listener.Addr().String()
	if got := failure(t, "http", host); !strings.Contains(got, "if it serves TLS, write https://"+host) {
		t.Errorf("no TLS spoken to a port with it: %s", got)
	}
}

// A connection that was of use, and breaks, is not taken for a port with TLS.
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
			_, _ = c.Read(make([]byte, 1))
			_ = c.Close()
		}
	}()
	if got := failure(t, "http", listener.Addr().String()); got == "" || strings.Contains(got, "TLS") {
		t.Errorf("%q", got)
	}
}
