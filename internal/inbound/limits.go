package inbound

import (
	"fmt"
	"net"
	"slices"
	"sync"
)

// The limits of incoming connections. A healthy member has about six: three pooled
// raft streams, and HTTP/2 connections for forwarded requests. An agent without raft has
// one for each 1 024 requests at once. Connections in their handshake are counted
// separately, and those from known hosts apart from others, so that a flood of strangers
// does not keep an agent out; and members apart from agents without raft.
const (
	maxConns        = 1024 // of members that were let in
	MaxForwarding   = 4096 // of agents without raft
	MaxConnsPerPeer = 64
	MaxHandshakes   = 256 // from hosts of agents that were met, and as many from others
)

// Limits counts incoming connections. Its zero value is ready for use.
type Limits struct {
	mu         sync.Mutex
	handshakes map[bool][]*Place   // by Place.known; the oldest first
	members    int                 // of members that were let in
	byPeer     map[string]int      // the same, by ID
	forwarding map[string][]*Place // of agents without raft, by ID; the oldest first
	forwarded  int                 // the same, of all
}

// Place is the place of one incoming connection in the limits.
type Place struct {
	Conn  net.Conn
	Host  string
	known bool   // an agent was met at its host
	peer  string // the accepted agent; empty: the connection is in its handshake
	// forwards is whether that one has no raft.
	forwards bool
}

// Peer returns the agent that was accepted; empty: none was yet.
func (p *Place) Peer() string { return p.peer }

// Admit counts a connection in its handshake. If there is no room, the host with the
// most of that kind loses its oldest one, which Admit returns.
func (l *Limits) Admit(conn net.Conn, known bool) (p, lost *Place) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.handshakes == nil {
		l.handshakes, l.byPeer = map[bool][]*Place{}, map[string]int{}
	}
	p = &Place{Conn: conn, Host: HostOf(conn.RemoteAddr()), known: known}
	if all := l.handshakes[known]; len(all) >= MaxHandshakes {
		lost = oldestOfMost(all)
		l.end(lost)
		_ = lost.Conn.Close()
	}
	l.handshakes[known] = append(l.handshakes[known], p)
	return p, lost
}

// oldestOfMost returns the oldest connection of the host that has most.
func oldestOfMost(all []*Place) *Place {
	counts := map[string]int{}
	for _, p := range all {
		counts[p.Host]++
	}
	oldest := all[0]
	for _, p := range all {
		if counts[p.Host] > counts[oldest.Host] {
			oldest = p
		}
	}
	return oldest
}

// LetIn counts a connection as a member's, or returns an error if there is no room.
func (l *Limits) LetIn(p *Place, id string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.byPeer[id] >= MaxConnsPerPeer:
		return fmt.Errorf("%d connections are open from %s, which is the limit", MaxConnsPerPeer, id)
	case l.members >= maxConns:
		return fmt.Errorf("%d connections of agents are open, which is the limit", maxConns)
	}
	l.end(p)
	p.peer = id
	l.members++
	l.byPeer[id]++
	return nil
}

// LetForward counts a connection as one of an agent without raft, or returns an error if
// there is no room. There is while it has fewer than another one: that loses its oldest,
// which LetForward returns.
func (l *Limits) LetForward(p *Place, id string) (lost *Place, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	own := len(l.forwarding[id])
	if own >= MaxConnsPerPeer {
		return nil, fmt.Errorf("%d connections are open from %s, which is the limit", MaxConnsPerPeer, id)
	}
	if l.forwarded >= MaxForwarding {
		most := l.mostForwarding()
		if len(most) <= own+1 {
			return nil, fmt.Errorf("%d connections of agents without raft are open, which is the limit", MaxForwarding)
		}
		lost = most[0]
		l.drop(lost)
		_ = lost.Conn.Close()
	}
	l.end(p)
	p.peer, p.forwards = id, true
	if l.forwarding == nil {
		l.forwarding = map[string][]*Place{}
	}
	l.forwarding[id] = append(l.forwarding[id], p)
	l.forwarded++
	return lost, nil
}

// mostForwarding returns the connections of the agent without raft that has most.
func (l *Limits) mostForwarding() (most []*Place) {
	for _, all := range l.forwarding {
		if len(all) > len(most) {
			most = all
		}
	}
	return most
}

// drop removes a connection from those of agents without raft, if it is one.
func (l *Limits) drop(p *Place) {
	all := l.forwarding[p.peer]
	i := slices.Index(all, p)
	if i < 0 {
		return
	}
	l.forwarded--
	if l.forwarding[p.peer] = slices.Delete(all, i, i+1); len(all) == 1 {
		delete(l.forwarding, p.peer)
	}
}

// Leave removes a connection.
func (l *Limits) Leave(p *Place) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case p.peer == "":
		l.end(p)
		return
	case p.forwards:
		l.drop(p)
		return
	}
	l.members--
	if l.byPeer[p.peer]--; l.byPeer[p.peer] == 0 {
		delete(l.byPeer, p.peer)
	}
}

// end removes a connection from those in their handshake, if it is one.
func (l *Limits) end(p *Place) {
	if i := slices.Index(l.handshakes[p.known], p); i >= 0 {
		l.handshakes[p.known] = slices.Delete(l.handshakes[p.known], i, i+1)
	}
}

// Open returns the number of connections.
func (l *Limits) Open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.members + l.forwarded + len(l.handshakes[true]) + len(l.handshakes[false])
}
