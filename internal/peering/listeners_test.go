package peering

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"github.com/interrex/interrex/internal/inbound"
)

// turnedAway checks that a connection is closed at the other end, before or behind its
// handshake.
func turnedAway(t *testing.T, what string, c *tls.Conn) {
	t.Helper()
	err := c.Handshake()
	if err == nil {
		_, err = c.Read(make([]byte, 1))
	}
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%s: %v", what, err)
	}
}

// letIn checks that a connection arrives at a listener, and returns it as it is there.
func letIn(t *testing.T, what string, l net.Listener, c *tls.Conn) net.Conn {
	t.Helper()
	if err := c.Handshake(); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	there, err := l.Accept()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	t.Cleanup(func() { _ = there.Close() })
	return there
}

func TestOnlyAgentsThatJoinNeedNoCertificate(t *testing.T) {
	w := newWorld(t)
	founded := make(chan bool)
	b, log := w.agent("b", func(c *Config) {
		c.Authorities = func() [][]byte {
			select {
			case <-founded:
				return w.cert("x").Certificate
			default:
				return nil
			}
		}
	})
	joins := func() *tls.Conn { return w.talk(b, []string{protocolJoin}) }
	turnedAway(t, "without a CA", joins())
	eventually(t, "the log says why", func() bool { return log.has("this cluster has no CA of its own") })
	close(founded)
	turnedAway(t, "without a listener", joins())
	l, err := b.JoinListener()
	if err != nil {
		t.Fatal(err)
	}
	joiner := letIn(t, "an agent that joins", l, joins())
	if s := Session(joiner); s == nil || len(s.PeerCertificates) > 0 || s.NegotiatedProtocol != protocolJoin {
		t.Errorf("its session is %+v", s)
	}
	turnedAway(t, "more than to join", w.talk(b, []string{protocolJoin, protocolRaft}))
	a, _ := w.agent("a", joining(b))
	eventually(t, "others have met", func() bool { return len(a.Peers()) == 1 && len(b.Peers()) == 1 })
	_ = l.Close()
	turnedAway(t, "behind the end of the listener", joins())
	stop(t, a)
	eventually(t, "nothing is left of them", func() bool { return b.limits.Open() == 0 && b.tracked() == 0 })
}

// tracked returns how many incoming connections a stop would close.
func (t *Transport) tracked() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.incoming)
}

func TestAgentsWithoutRaftAreLetInWhereSomebodyListens(t *testing.T) {
	w := newWorld(t)
	b, _ := w.agent("b")
	comes := func(id string) *tls.Conn { return w.talk(b, []string{ForwardProtocol}, w.cert(id)) }
	turnedAway(t, "without a listener", comes("f"))
	l, err := b.ForwardListener()
	if err != nil {
		t.Fatal(err)
	}
	if there := letIn(t, "an agent without raft", l, comes("f")); inbound.PeerOf(there) != "f" || len(b.Peers()) > 0 {
		t.Errorf("it is %q, and met are %v", inbound.PeerOf(there), b.Peers())
	}
	for range inbound.MaxConnsPerPeer {
		p, _ := b.limits.Admit(&from{host: "10.0.0.1"}, false)
		if _, err := b.limits.LetForward(p, "g"); err != nil {
			t.Fatal(err)
		}
	}
	accepted := make(chan error, 1)
	go func() {
		_, err := l.Accept()
		accepted <- err
	}()
	turnedAway(t, "with too many connections", comes("g"))
	_ = l.Close()
	if err := <-accepted; err == nil {
		t.Error("one connection too many arrives at the listener")
	}
	turnedAway(t, "behind the end of the listener", comes("f"))
}

func TestAConnectionThatIsClosedIsForgotten(t *testing.T) {
	w := newWorld(t)
	b, _ := w.agent("b")
	a, _ := w.agent("a")
	c, _, err := a.dialAt(t.Context(), b.ListenAddr(), "b", protocolHello)
	if err != nil {
		t.Fatal(err)
	}
	if len(a.ties("b")) == 0 {
		t.Error("it is not counted")
	}
	_ = c.Close()
	eventually(t, "both have forgotten it", func() bool { return len(a.ties("b")) == 0 && len(b.ties("a")) == 0 })
}

func TestSoManyDoublesAreRemembered(t *testing.T) {
	var p present
	for n := range 2 * maxKnown {
		p.note(Contact{ID: fmt.Sprint(n)}, time.Now())
		if len(p.doubles) == 0 || len(p.doubles) > maxKnown {
			t.Fatalf("%d are remembered", len(p.doubles))
		}
	}
}
