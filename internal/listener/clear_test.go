package listener

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/interrex/interrex/internal/silent"
)

// certified returns the TLS configuration of a server, and of its clients, which show a
// certificate.
func certified() (server, clients *tls.Config) {
	made := httptest.NewTLSServer(nil)
	defer made.Close()
	server = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: made.TLS.Certificates, ClientAuth: tls.RequestClientCert}
	clients = made.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	clients.Certificates, clients.ServerName = server.Certificates, "example.com"
	return server, clients
}

// secured starts a Listener with TLS, and returns the configuration of its clients.
func secured(t *testing.T, change func(*Config)) (*Listener, *tls.Config) {
	t.Helper()
	server, clients := certified()
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := Config{
		Listener: socket, Logger: silent.Logger{}, TLS: server,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			shown := 0
			if r.TLS != nil {
				shown = len(r.TLS.PeerCertificates)
			}
			fmt.Fprintf(w, "%s, %d certificates", r.Proto, shown)
		}),
	}
	change(&c)
	l, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Kill(); _ = l.Wait() })
	return l, clients
}

func TestTLSIsServedWithBothProtocols(t *testing.T) {
	type key struct{}
	var below net.Conn
	l, config := secured(t, func(c *Config) {
		c.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
			below = c
			return context.WithValue(ctx, key{}, true)
		}
	})
	for _, want := range []string{"HTTP/1.1", "HTTP/2.0"} {
		protocols := new(http.Protocols)
		protocols.SetHTTP1(want == "HTTP/1.1")
		protocols.SetHTTP2(want == "HTTP/2.0")
		c := http.Client{Transport: &http.Transport{TLSClientConfig: config, Protocols: protocols}}
		for range 2 { // the second on the same connection
			a, err := c.Get("https://" + l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(a.Body)
			if err != nil || string(text) != want+", 1 certificates" {
				t.Errorf("with %s: %q, %v", want, text, err)
			}
			_ = a.Body.Close()
		}
		c.CloseIdleConnections()
	}
	accepted := below.(interface{ NetConn() net.Conn }).NetConn()
	if _, is := accepted.(*net.TCPConn); !is {
		t.Errorf("below it is a %T", accepted)
	}
}

func TestTLSWithoutHTTP2(t *testing.T) {
	l, config := secured(t, func(c *Config) { c.OnlyHTTP1 = true })
	config.NextProtos = []string{"h2", "http/1.1"}
	c, err := tls.Dial("tcp", l.Addr().String(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := c.ConnectionState().NegotiatedProtocol; got != "http/1.1" {
		t.Errorf("%q is chosen", got)
	}
	fmt.Fprint(c, preface+"\x00\x00\x00\x04\x00\x00\x00\x00\x00") // it speaks HTTP/2 nevertheless
	var answer [4]byte
	if _, err := io.ReadFull(c, answer[:]); err != nil || string(answer[:]) != "HTTP" {
		t.Errorf("it is answered %q, %v", answer, err)
	}
}

func TestARequestWithoutTLSIsToldOfIt(t *testing.T) {
	l, _ := secured(t, func(*Config) {})
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions} {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, "%s /kv/a HTTP/1.1\r\nHost: a\r\n\r\n", method)
		text, _ := io.ReadAll(c) // it may be reset behind the answer
		if !strings.Contains(string(text), "400 Bad Request") || !strings.Contains(string(text), "use https") {
			t.Errorf("%s is answered %q", method, text)
		}
		_ = c.Close()
	}
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "SSH-2.0-OpenSSH\r\n")
	if text, _ := io.ReadAll(c); strings.Contains(string(text), "https") {
		t.Errorf("another protocol is answered %q", text)
	}
}

// shaking returns a connection with TLS whose handshake has not begun, and the client's end.
func shaking(t *testing.T, server *tls.Config) (*clearConn, net.Conn) {
	t.Helper()
	here, there := net.Pipe()
	t.Cleanup(func() { _ = there.Close() })
	c := &clearConn{logger: silent.Logger{}}
	c.secure = tls.Server(&limitedConn{Conn: here, of: &limitedListener{}}, server)
	c.Conn = c.secure
	return c, there
}

func TestAHandshakeHasABound(t *testing.T) {
	server, config := certified()
	synctest.Test(t, func(t *testing.T) {
		c, there := shaking(t, server)
		go func() { // it takes nothing
			_ = tls.Client(&untaken{there, t.Context().Done()}, config).Handshake()
		}()
		began := time.Now()
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("it succeeds")
		}
		if took := time.Since(began); took != readHeaderTimeout {
			t.Errorf("it fails after %s", took)
		}
	})
}

// untaken is a connection of which nothing is read.
type untaken struct {
	net.Conn
	end <-chan struct{}
}

func (c *untaken) Read([]byte) (int, error) {
	<-c.end
	return 0, io.EOF
}

func TestAHandshakeLeavesNoDeadline(t *testing.T) {
	server, config := certified()
	synctest.Test(t, func(t *testing.T) {
		c, there := shaking(t, server)
		client := tls.Client(there, config)
		go func() {
			_, _ = client.Write([]byte("a"))
			_, _ = io.Copy(io.Discard, client)
		}()
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * readHeaderTimeout)
		if _, err := c.Write([]byte("b")); err != nil {
			t.Error(err)
		}
	})
}

// The peer reads the end of the answer, while the connection is still open.
func TestOneHalfOfAConnectionIsClosed(t *testing.T) {
	server, clients := certified()
	for _, config := range []*tls.Config{nil, server} {
		socket, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer socket.Close()
		l := &clearListener{limitedListener: newLimited(Config{Listener: socket, Logger: silent.Logger{}}), tls: config, logger: silent.Logger{}}
		got := make(chan string, 1)
		go func() {
			c, err := l.Accept()
			if err != nil {
				got <- err.Error()
				return
			}
			defer c.Close()
			first := make([]byte, 1)
			_, err = io.ReadFull(c, first)
			half := c.(interface{ CloseWrite() error }).CloseWrite()
			rest, last := io.ReadAll(c)
			got <- fmt.Sprintf("%v %v %s%s %v", err, half, first, rest, last)
		}()
		peer, err := net.Dial("tcp", socket.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer peer.Close()
		_ = peer.SetDeadline(time.Now().Add(10 * time.Second)) // if it hangs
		var c interface {
			io.ReadWriter
			CloseWrite() error
		} = peer.(*net.TCPConn)
		if config != nil {
			c = tls.Client(peer, clients)
		}
		_, first := io.WriteString(c, "a")
		end, err := io.ReadAll(c)
		_, more := io.WriteString(c, "b")
		half := c.CloseWrite()
		if first != nil || len(end) > 0 || err != nil || more != nil || half != nil {
			t.Errorf("TLS %v: %v, %q, %v, %v, %v", config != nil, first, end, err, more, half)
		}
		if text := <-got; text != "<nil> <nil> ab <nil>" {
			t.Errorf("TLS %v: %s", config != nil, text)
		}
	}
}
