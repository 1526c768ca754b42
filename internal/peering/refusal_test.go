package peering

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/inbound"
	"github.com/interrex/interrex/transport"
)

// Whichever of the two dials, the agent that was removed learns of it, and the other
// one forgets where it is.
func TestARemovedAgentLearnsOfIt(t *testing.T) {
	for _, removedDials := range []bool{true, false} {
		w := newWorld(t)
		var removed atomic.Bool
		heard := make(chan string, 10)
		b, _ := w.agent("b", func(c *Config) {
			c.Accept = func(Hello) error {
				if removed.Load() {
					return interrex.Errorf(interrex.ErrRemoved, "a was removed")
				}
				return nil
			}
		})
		a, _ := w.agent("a", func(c *Config) {
			c.OnRemoved = func(peer Hello, reason string) { heard <- peer.ID + ": " + reason }
		})
		from, to := a, b
		if !removedDials {
			from, to = b, a
		}
		meet := func() error {
			conn, _, err := from.dialAt(t.Context(), to.ListenAddr(), to.ID(), protocolHello)
			if err == nil {
				err = conn.Close()
			}
			return err
		}
		if err := meet(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "b has met a", func() bool { return len(b.Peers()) == 1 })
		removed.Store(true)
		if err := meet(); err == nil || !strings.Contains(err.Error(), "a was removed") {
			t.Errorf("a dials: %v: %v", removedDials, err)
		}
		select {
		case text := <-heard:
			if text != "b: removed from cluster: a was removed" {
				t.Errorf("a has heard %q", text)
			}
		case <-time.After(time.Minute):
			t.Fatal("a has heard nothing")
		}
		eventually(t, "b has forgotten a", func() bool { return len(b.Peers()) == 0 })
	}
}

// Each case is a dialler that is refused, the reason that it gets, and the log of the
// agent that it dialled.
func TestStrangersAreRefusedInWordsAtBothEnds(t *testing.T) {
	w, other := newWorld(t), newWorld(t)
	for name, c := range map[string]struct {
		change  func(*Config)
		told    string
		written string
	}{
		"another CA": {
			func(c *Config) { c.TLS = mixed{own: must(other.ca.TLS("a")), roots: must(w.ca.TLS("a"))} },
			"it refuses our TLS or certificate", "unknown authority",
		},
		"all of another CA": {
			func(c *Config) { c.TLS = must(other.ca.TLS("a")) },
			"we refuse its certificate: x509: certificate signed by unknown authority", "bad certificate",
		},
		"expired": {
			w.with("a", func(x *x509.Certificate) { x.NotAfter = time.Now().Add(-time.Minute) }),
			"it refuses our TLS or certificate (tls: expired certificate)", "expired",
		},
		"not for clients": {
			w.with("a", func(x *x509.Certificate) { x.ExtKeyUsage = x.ExtKeyUsage[:1] }),
			"it refuses our TLS or certificate", "incompatible key usage",
		},
		"not for servers": {
			w.with("a", func(x *x509.Certificate) { x.ExtKeyUsage = x.ExtKeyUsage[1:] }),
			"it refuses our TLS or certificate", "incompatible key usage",
		},
		"refused by its owner": {
			func(c *Config) { c.Hello = func() Hello { return Hello{ClusterID: "elsewhere"} } },
			"it refuses us: it is in another cluster", "of a: it is in another cluster",
		},
		"refusing": {
			func(c *Config) { c.Accept = func(Hello) error { return errors.New("wrong epoch") } },
			"we refuse it: wrong epoch", "it refuses us: wrong epoch",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{t, w.ca}
			b, blog := w.agent("b", func(c *Config) {
				c.Accept = func(h Hello) error {
					if h.ClusterID != "" {
						return errors.New("it is in another cluster")
					}
					return nil
				}
			})
			a, alog := w.agent("a", c.change)
			_, _, err := a.dialAt(t.Context(), b.ListenAddr(), "b", protocolHello)
			_, _, unnamed := a.dialAt(t.Context(), b.ListenAddr(), "", protocolHello)
			for _, err := range []error{err, unnamed} {
				if err == nil || !strings.Contains(err.Error(), c.told) {
					t.Errorf("a was told %v, want %q", err, c.told)
				}
			}
			eventually(t, "b wrote "+c.written, func() bool { return blog.has(c.written) })
			if !alog.has("cannot talk to b at") || !alog.has("cannot talk to the agent at") || !alog.has(c.told) {
				t.Errorf("a wrote %q, want %q of b and of whoever is there", alog.lines, c.told)
			}
			if len(a.Peers())+len(b.Peers()) != 0 {
				t.Error("they have met")
			}
		})
	}
}

// mixed shows one certificate and trusts another authority.
type mixed struct{ own, roots transport.TLS }

func (m mixed) Certificate() (*tls.Certificate, error) { return m.own.Certificate() }
func (m mixed) Roots() (*x509.CertPool, error)         { return m.roots.Roots() }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestAgentOfAnotherIDIsNotTakenForTheOneDialled(t *testing.T) {
	w := newWorld(t)
	b, _ := w.agent("b")
	a, _ := w.agent("a", func(c *Config) { c.Peers = map[string]string{"c": b.ListenAddr()} })
	_, err := a.DialAPI(t.Context(), "c")
	if err == nil || !strings.Contains(err.Error(), "valid for b, not c") {
		t.Errorf("dialling b as c gave: %v", err)
	}
}

func TestCloneIsRefusedAndNamed(t *testing.T) {
	w := newWorld(t)
	b, _ := w.agent("b")
	clone, log := w.agent("b")
	_, _, err := clone.dialAt(t.Context(), b.ListenAddr(), "", protocolHello)
	if err == nil || !strings.Contains(err.Error(), "two agents with the ID b") {
		t.Errorf("the clone was told: %v", err)
	}
	if !log.has("two agents with the ID b") {
		t.Errorf("the log says %q", log.lines)
	}
}

// talk speaks TLS to an agent by hand.
func (w *world) talk(to *Transport, protocols []string, certs ...tls.Certificate) *tls.Conn {
	conn := tls.Client(rawDial(w.T, to.ListenAddr()), &tls.Config{
		InsecureSkipVerify: true, NextProtos: protocols, Certificates: certs, MinVersion: tls.VersionTLS12,
	})
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	return conn
}

func (w *world) cert(id string) tls.Certificate {
	return *must(must(w.ca.TLS(id)).Certificate())
}

func TestWhatIsNotAnAgentIsTurnedAway(t *testing.T) {
	for name, c := range map[string]struct {
		say     func(*world, *Transport)
		written string
	}{
		"no certificate": {func(w *world, b *Transport) { _ = w.talk(b, []string{protocolRaft}).Handshake() }, "didn't provide a certificate"},
		"wrong protocol": {func(w *world, b *Transport) { _ = w.talk(b, []string{"h2"}, w.cert("a")).Handshake() }, "unsupported application protocols"},
		"garbage": {func(w *world, b *Transport) {
			_, _ = fmt.Fprint(rawDial(w.T, b.ListenAddr()), "GET / HTTP/1.1\r\n\r\n")
		}, "does not use TLS"},
		"garbage as hello": {func(w *world, b *Transport) { w.say(b, frame("not JSON")) }, "cannot decode the hello"},
		"no hello":         {func(w *world, b *Transport) { w.say(b, frame("{}")) }, "it is missing"},
		"huge hello":       {func(w *world, b *Transport) { w.say(b, []byte{0xff, 0xff, 0xff, 0xff}) }, "the limit is 4096"},
		"another's hello":  {func(w *world, b *Transport) { w.say(b, frame(`{"hello":{"protocol":1,"id":"c"}}`)) }, `is for "a" and its hello says "c"`},
		"far version":      {func(w *world, b *Transport) { w.say(b, frame(`{"hello":{"protocol":9,"id":"a"}}`)) }, "uses version 9"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			b, log := w.agent("b")
			c.say(w, b)
			eventually(t, "the log says "+c.written, func() bool { return log.has(c.written) })
			eventually(t, "the connection is closed", func() bool { return b.limits.Open() == 0 })
		})
	}
}

func TestAnAgentThatStartsOrStopsIsNoWarning(t *testing.T) {
	w := newWorld(t)
	a, alog := w.agent("a")
	b, blog := w.agent("b")
	for protocol, told := range map[string]string{
		protocolRaft: "it refuses us: raft is not running on b just now", protocolAPI: "it refuses us: b does not serve forwarded requests just now",
	} {
		if _, _, err := a.dialAt(t.Context(), b.ListenAddr(), "b", protocol); err == nil || !strings.Contains(err.Error(), told) {
			t.Errorf("a was told %v, want %q", err, told)
		}
	}
	_ = rawDial(t, b.ListenAddr()).Close() // it goes in the midst of its handshake
	eventually(t, "the connections are closed", func() bool { return b.limits.Open() == 0 })
	if alog.count()+blog.count() > 0 {
		t.Errorf("a logs %q, b %q", alog.lines, blog.lines)
	}
}

// say sends one frame as agent a and waits for the end of the connection.
func (w *world) say(to *Transport, text []byte) {
	conn := w.talk(to, []string{protocolHello}, w.cert("a"))
	_, _ = conn.Write(text)
	_, _ = io.Copy(io.Discard, conn)
}

func frame(text string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...)
}

func TestHelloIsRefusedByItsLengthAlone(t *testing.T) {
	length := binary.BigEndian.AppendUint32(nil, maxFrame+1)
	if _, err := readGreeting(bytes.NewReader(length)); err == nil || !strings.Contains(err.Error(), "the limit is 4096") {
		t.Errorf("got %v", err)
	}
}

func TestHelloOfACrowdIsMadeToFit(t *testing.T) {
	h := Hello{ID: "a"}
	for i := range maxKnown {
		h.Met = append(h.Met, Met{ID: fmt.Sprint(i), Incarnation: "0123456789abcdef", Address: "10.0.0.1:7401"})
	}
	var frame bytes.Buffer
	if err := writeGreeting(&frame, greeting{Hello: &h}); err != nil {
		t.Fatal(err)
	}
	got, err := readHello(&frame)
	if err != nil || len(got.Hello.Met) == 0 || len(h.Met) != maxKnown {
		t.Errorf("got %d of those met, %v", len(got.Hello.Met), err)
	}
	h.Version = strings.Repeat("x", maxFrame)
	if err := writeGreeting(&frame, greeting{Hello: &h}); err == nil {
		t.Error("a hello that does not fit was sent")
	}
}

func TestRefusalsOfOneStrangerAreLoggedOnceAMinute(t *testing.T) {
	w := newWorld(t)
	b, log := w.agent("b")
	for range 10 {
		conn := rawDial(t, b.ListenAddr())
		_, _ = fmt.Fprint(conn, "hello?\n\n\n\n\n\n")
		_, _ = io.Copy(io.Discard, conn)
	}
	if n := log.count(); n != 1 {
		t.Errorf("%d lines were logged: %q", n, log.lines)
	}
}

func TestEachReasonOfOneHostIsLogged(t *testing.T) {
	w := newWorld(t)
	b, log := w.agent("b")
	for range 2 {
		w.say(b, frame("not JSON"))
		w.say(b, frame("{}"))
	}
	if !log.has("cannot decode the hello: invalid") || !log.has("it is missing") || log.count() != 2 {
		t.Errorf("want two reasons once each: %q", log.lines)
	}
	for version := range 2 * inbound.MaxReasons {
		w.say(b, frame(fmt.Sprintf(`{"hello":{"protocol":%d,"id":"a"}}`, 100+version)))
	}
	if n := log.count(); n != inbound.MaxReasons {
		t.Errorf("%d lines, want no more than %d within a minute", n, inbound.MaxReasons)
	}
}

func TestVersionsOfTheProtocolMayBeOneApart(t *testing.T) {
	w := newWorld(t)
	a, _ := w.agent("a")
	for apart := -2; apart <= 2; apart++ {
		err := a.check("b", Hello{ID: "b", Protocol: Protocol + apart})
		if (err == nil) != (apart >= -1 && apart <= 1) {
			t.Errorf("%d apart: %v", apart, err)
		}
	}
}

func TestALongReasonIsCutAndSent(t *testing.T) {
	var frame bytes.Buffer
	if err := writeGreeting(&frame, greeting{Hello: &Hello{ID: "a"}, Refused: strings.Repeat("x", 2*maxFrame)}); err != nil {
		t.Fatal(err)
	}
	if got, err := readGreeting(&frame); err != nil || len(got.Refused) != inbound.MaxReason {
		t.Errorf("%d bytes of it, %v", len(got.Refused), err)
	}
}
