package peering

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/interrex/interrex/internal/inbound"
)

// from is a connection that comes from a host.
type from struct {
	net.Conn
	host   string
	closed bool
}

func (f *from) RemoteAddr() net.Addr { return ip(f.host) }
func (f *from) Close() error         { f.closed = true; return nil }

func TestAnAgentComesInThroughAFloodOfItsHost(t *testing.T) {
	w := newWorld(t)
	b, log := w.agent("b")
	for range inbound.MaxHandshakes {
		rawDial(t, b.ListenAddr())
	}
	eventually(t, "all are counted", func() bool { return b.limits.Open() == inbound.MaxHandshakes })
	oldest := rawDial(t, b.ListenAddr()) // one more than there is room for
	eventually(t, "the log says so", func() bool { return log.has("256 connections are in their handshake, which is the limit") })
	a, _ := w.agent("a", joining(b))
	eventually(t, "they have met", func() bool { return len(a.Peers()) == 1 && len(b.Peers()) == 1 })
	_ = oldest.Close()
}

func TestTooManyConnectionsOfAnAgentAreRefusedInWords(t *testing.T) {
	w := newWorld(t)
	b, log := w.agent("b")
	a, _ := w.agent("a")
	for range inbound.MaxConnsPerPeer {
		p, _ := b.limits.Admit(&from{host: "10.0.0.1"}, false)
		if err := b.limits.LetIn(p, "a"); err != nil {
			t.Fatal(err)
		}
	}
	_, _, err := a.dialAt(t.Context(), b.ListenAddr(), "b", protocolHello)
	if err == nil || !strings.Contains(err.Error(), "it refuses us: 64 connections are open from a, which is the limit") {
		t.Errorf("a was told %v", err)
	}
	eventually(t, "b says so", func() bool { return log.has("of a: 64 connections are open from a") })
}

// closedTo is a life to which one agent is a stranger.
type closedTo struct {
	free
	stranger string
	met      chan Hello
}

func (c closedTo) Log() LogState { return LogState{Life: "1", Term: 3} }
func (c closedTo) OpenTo(peer Hello) error {
	if peer.ID == c.stranger {
		return fmt.Errorf("agent %s is not one of them", peer.ID)
	}
	return nil
}
func (c closedTo) Met(peer Hello, _ *Remembered) error { c.met <- peer; return nil }

func TestRaftIsClosedToStrangersInWordsAtBothEnds(t *testing.T) {
	w := newWorld(t)
	b, blog := w.agent("b")
	life := closedTo{stranger: "a", met: make(chan Hello, 100)}
	if _, err := b.Raft(RaftConfig{Life: life}); err != nil {
		t.Fatal(err)
	}
	dialler := func(id string) (*Transport, *notes) {
		a, log := w.agent(id)
		if _, err := a.Raft(RaftConfig{Life: closedTo{met: make(chan Hello, 100)}}); err != nil {
			t.Fatal(err)
		}
		return a, log
	}
	a, alog := dialler("a")
	_, _, err := a.dialAt(t.Context(), b.ListenAddr(), "b", protocolRaft)
	if err == nil || err.Error() != "it refuses us: agent a is not one of them" {
		t.Errorf("a was told %v", err)
	}
	eventually(t, "both say so", func() bool {
		return blog.has("of a: agent a is not one of them") && alog.has("agent a is not one of them")
	})
	// It may say hello, and is of no concern to raft.
	conn, _, err := a.dialAt(t.Context(), b.ListenAddr(), "b", protocolHello)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	eventually(t, "they have met", func() bool { return len(b.Peers()) == 1 })
	c, _ := dialler("c")
	if conn, _, err = c.dialAt(t.Context(), b.ListenAddr(), "b", protocolRaft); err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	eventually(t, "c is remembered", func() bool { _, known := b.memory.Of("c"); return known })
	if _, known := b.memory.Of("a"); (<-life.met).ID != "c" || known {
		t.Errorf("raft has met another one than c, or a is remembered: %v", known)
	}
	nobody, _ := w.agent("d") // raft does not run there
	if _, _, err = nobody.dialAt(t.Context(), b.ListenAddr(), "b", protocolRaft); err == nil || !strings.Contains(err.Error(), "raft is not running on d") {
		t.Errorf("d was told %v", err)
	}
}

// changing is a life that is closed to all from a time on.
type changing struct {
	free
	closed chan struct{}
}

func (c changing) OpenTo(Hello) error {
	select {
	case <-c.closed:
		return fmt.Errorf("not any more")
	default:
		return nil
	}
}

func TestForwardedRequestsAreOfMembers(t *testing.T) {
	w := newWorld(t)
	b, blog := w.agent("b")
	in, err := b.Listener()
	if err != nil {
		t.Fatal(err)
	}
	taken := make(chan net.Conn, 2)
	go func() {
		for c, err := in.Accept(); err == nil; c, err = in.Accept() {
			taken <- c
		}
	}()
	a, _ := w.agent("a")
	early, _, err := a.dialAt(t.Context(), b.ListenAddr(), "b", protocolAPI)
	if err != nil {
		t.Fatal(err) // raft is not running on b: a is answered who leads
	}
	defer early.Close()
	life := closedTo{stranger: "a", met: make(chan Hello, 100)}
	if _, err := b.Raft(RaftConfig{Life: life}); err != nil {
		t.Fatal(err)
	}
	if _, err := early.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if n, err := (<-taken).Read(make([]byte, 1)); n != 0 || err == nil || err.Error() != "agent a is not one of them" {
		t.Errorf("of a stranger %d bytes arrived, %v", n, err)
	}
	_, _, err = a.dialAt(t.Context(), b.ListenAddr(), "b", protocolAPI)
	if err == nil || err.Error() != "it refuses us: agent a is not one of them" {
		t.Errorf("a was told %v", err)
	}
	eventually(t, "b says so", func() bool { return blog.has("of a: agent a is not one of them") })
	c, _ := w.agent("c")
	conn, _, err := c.dialAt(t.Context(), b.ListenAddr(), "b", protocolAPI)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
}

func TestAStreamOfRaftEndsWithItsMembership(t *testing.T) {
	w := newWorld(t)
	b, _ := w.agent("b")
	a, _ := w.agent("a")
	life := changing{closed: make(chan struct{})}
	if _, err := b.Raft(RaftConfig{Life: life}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Raft(RaftConfig{}); err != nil {
		t.Fatal(err)
	}
	conn, _, err := a.dialAt(t.Context(), b.ListenAddr(), "b", protocolRaft)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	eventually(t, "b has let it in", func() bool { return len(b.Peers()) == 1 })
	close(life.closed)
	if _, err := conn.Write([]byte{0}); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := conn.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the stream ends with %v", err)
	}
}
