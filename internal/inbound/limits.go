package inbound

import (
	"fmt"
	"net"
	"slices"
	"sync"
)

// The limits of incoming connections. A healthy peer has about six: three pooled
// raft streams, and HTTP/2 connections for forwarded requests. Connections in their
// handshake are counted separately, and those from known hosts apart from others,
// so that a flood of strangers does not keep an agent out.
const (
	maxConns        = 1024 // of agents that were let in
	MaxConnsPerPeer = 64
	MaxHandshakes   = 256 // from hosts of agents that were met, and as many from others
)

// Limits counts incoming connections. Its zero value is ready for use.
type Limits struct {
	mu         sync.Mutex
	handshakes map[bool][]*Place // by Place.known; the oldest first
	total      int               // of agents that were let in
	byPeer     map[string]int
}

// Place is the place of one incoming connection in the limits.
type Place struct {
	Conn  net.Conn
	Host  string
	known bool   // an agent was met at its host
	peer  string // the accepted agent; empty: the connection is in its handshake
}

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

// LetIn counts a connection as an agent's, or returns an error if there is no room.
func (l *Limits) LetIn(p *Place, id string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.byPeer[id] >= MaxConnsPerPeer:
		return fmt.Errorf("%d connections are open from %s, which is the limit", MaxConnsPerPeer, id)
	case l.total >= maxConns:
		return fmt.Errorf("%d connections of agents are open, which is the limit", maxConns)
	}
	l.end(p)
	p.peer = id
	l.total++
	l.byPeer[id]++
	return nil
}

// Leave removes a connection.
func (l *Limits) Leave(p *Place) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.peer == "" {
		l.end(p)
		return
	}
	l.total--
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
	return l.total + len(l.handshakes[true]) + len(l.handshakes[false])
}
