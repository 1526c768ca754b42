package inbound

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
)

// from is a connection that comes from a host.
type from struct {
	net.Conn
	host   string
	closed bool
}

func (f *from) RemoteAddr() net.Addr { return &net.IPAddr{IP: net.ParseIP(f.host)} }
func (f *from) Close() error         { f.closed = true; return nil }

func TestOnePeerCannotTakeAllConnections(t *testing.T) {
	var l Limits
	enter := func(id string) (*Place, error) {
		p, _ := l.Admit(&from{host: "10.0.0.1"}, true)
		return p, l.LetIn(p, id)
	}
	var first *Place
	for range MaxConnsPerPeer {
		p, err := enter("a")
		if err != nil {
			t.Fatal(err)
		}
		first = p
	}
	p, err := enter("a")
	if err == nil || err.Error() != "64 connections are open from a, which is the limit" {
		t.Errorf("a peer went beyond its limit: %v", err)
	}
	l.Leave(p)
	if _, err := enter("b"); err != nil {
		t.Errorf("another peer was refused for it: %v", err)
	}
	l.Leave(first)
	if _, err := enter("a"); err != nil {
		t.Errorf("a place was not given back: %v", err)
	}
	if n := l.Open(); n != MaxConnsPerPeer+1 {
		t.Errorf("%d are open", n)
	}
}

func TestAFloodOfStrangersKeepsNoAgentOut(t *testing.T) {
	var l Limits
	known := &from{host: "10.0.0.1"}
	if _, lost := l.Admit(known, true); lost != nil {
		t.Fatal("the first one had no room")
	}
	quiet := &from{host: "10.0.0.2"}
	l.Admit(quiet, false)
	var flood []*from
	for range 3 * MaxHandshakes { // of one host
		f := &from{host: "10.0.0.3"}
		flood = append(flood, f)
		l.Admit(f, false)
	}
	if known.closed || quiet.closed {
		t.Errorf("closed: the known agent %v, the stranger of another host %v", known.closed, quiet.closed)
	}
	if !flood[0].closed || flood[len(flood)-1].closed {
		t.Error("it is not the oldest that were closed")
	}
	for i := range 3 * MaxHandshakes { // of as many hosts
		l.Admit(&from{host: fmt.Sprint("10.1.", i/250, ".", i%250)}, false)
	}
	if known.closed {
		t.Error("the known agent was closed")
	}
	if n := l.Open(); n != MaxHandshakes+1 {
		t.Errorf("%d are open", n)
	}
}

func TestAgentsThatWereLetInKeepNoStrangerOut(t *testing.T) {
	var l Limits
	for i := range maxConns {
		p, _ := l.Admit(&from{host: "10.0.0.1"}, true)
		if err := l.LetIn(p, fmt.Sprint(i/MaxConnsPerPeer)); err != nil {
			t.Fatal(err)
		}
	}
	p, lost := l.Admit(&from{host: "10.0.0.1"}, false)
	if lost != nil {
		t.Error("a stranger had no room")
	}
	if err := l.LetIn(p, "x"); err == nil || !strings.Contains(err.Error(), "1024 connections of agents are open, which is the limit") {
		t.Errorf("one more agent: %v", err)
	}
}

func TestAgentsWithoutRaftKeepNoAgentOut(t *testing.T) {
	var l Limits
	let := func(agent int) (*from, error) {
		f := &from{host: "10.0.0.1"}
		p, _ := l.Admit(f, true)
		_, err := l.LetForward(p, fmt.Sprint("f", agent))
		return f, err
	}
	var first *from
	for i := range MaxForwarding {
		f, err := let(i / MaxConnsPerPeer)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = f
		}
	}
	if _, err := let(0); err == nil || !strings.Contains(err.Error(), "64 connections are open from f0, which is the limit") {
		t.Errorf("one more connection of an agent: %v", err)
	}
	var kept []*from
	for i := range 1000 {
		f, err := let(1000 + i)
		if err != nil {
			t.Fatal(err)
		}
		kept = append(kept, f)
	}
	if !first.closed {
		t.Error("an agent with 64 has lost none for those that had none")
	}
	for i, f := range kept {
		if f.closed {
			t.Errorf("agent %d has lost its only one", i)
		}
	}
	p, _ := l.Admit(&from{host: "10.0.0.1"}, true)
	if err := l.LetIn(p, "n2"); err != nil {
		t.Errorf("a member: %v", err)
	}
	if l.Leave(p); l.Open() != MaxForwarding+1 { // f0's is in its handshake
		t.Errorf("%d are open", l.Open())
	}
}

func TestAConnectionThatNobodyTakesIsClosed(t *testing.T) {
	for name, hand := range map[string]func(*Inlet, *Conn) error{
		"within its time": func(in *Inlet, c *Conn) error {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			return in.Deliver(ctx, c)
		},
		"after the end": func(in *Inlet, c *Conn) error {
			_ = in.Close()
			_, err := in.hold(c)
			return err
		},
	} {
		ours, theirs := net.Pipe()
		c := &Conn{Conn: theirs, Peer: "b", Release: func() {}}
		if err := hand(NewInlet(IDAddr("a")), c); err == nil {
			t.Errorf("%s: it is taken", name)
		}
		if _, err := ours.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("%s: reading gives %v", name, err)
		}
	}
}
