package inbound

import (
	"fmt"
	"net"
	"slices"
	"sync"
)

// The limits of incoming connections. A healthy peer keeps about six: three
// pooled raft streams, and HTTP/2 connections for forwarded requests. Those in
// their handshake have places of their own, and among them those from where
// agents have come, so that no flood of strangers keeps an agent out.
const (
	maxConns        = 1024 // of agents that were let in
	MaxConnsPerPeer = 64
	MaxHandshakes   = 256 // from hosts of agents that were met, and as many from others
)

// Limits counts incoming connections. Its zero value counts from none.
type Limits struct {
	mu         sync.Mutex
	handshakes map[bool][]*Place // by known; the oldest first
	total      int               // of agents that were let in
	byPeer     map[string]int
}

// Place is what one incoming connection takes up.
type Place struct {
	Conn  net.Conn
	Host  string
	known bool   // an agent was met at its host
	peer  string // the agent that was let in; empty: it is in its handshake
}

// Admit counts a connection in its handshake. Where there is no room, the host
// with the most of that kind loses its oldest one, which admit returns.
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

// oldestOfMost picks the oldest connection of the host that has most.
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

// LetIn counts a connection as an agent's, or says why there is no room for it.
func (l *Limits) LetIn(p *Place, id string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.byPeer[id] >= MaxConnsPerPeer:
		return fmt.Errorf("%d connections are open from %s, the limit", MaxConnsPerPeer, id)
	case l.total >= maxConns:
		return fmt.Errorf("%d connections of agents are open, the limit", maxConns)
	}
	l.end(p)
	p.peer = id
	l.total++
	l.byPeer[id]++
	return nil
}

// Leave gives a connection's place back.
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

// end takes a connection from those in their handshake, if it is among them.
func (l *Limits) end(p *Place) {
	if i := slices.Index(l.handshakes[p.known], p); i >= 0 {
		l.handshakes[p.known] = slices.Delete(l.handshakes[p.known], i, i+1)
	}
}

// Open returns how many connections there are.
func (l *Limits) Open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.total + len(l.handshakes[true]) + len(l.handshakes[false])
}
