package transport

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
	maxConnsPerPeer = 64
	maxHandshakes   = 256 // from hosts of agents that were met, and as many from others
)

// limits counts incoming connections. Its zero value counts from none.
type limits struct {
	mu         sync.Mutex
	handshakes map[bool][]*place // by known; the oldest first
	total      int               // of agents that were let in
	byPeer     map[string]int
}

// place is what one incoming connection takes up.
type place struct {
	conn  net.Conn
	host  string
	known bool   // an agent was met at its host
	peer  string // the agent that was let in; empty: it is in its handshake
}

// admit counts a connection in its handshake. Where there is no room, the host
// with the most of that kind loses its oldest one, which admit returns.
func (l *limits) admit(conn net.Conn, known bool) (p, lost *place) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.handshakes == nil {
		l.handshakes, l.byPeer = map[bool][]*place{}, map[string]int{}
	}
	p = &place{conn: conn, host: hostOf(conn.RemoteAddr()), known: known}
	if all := l.handshakes[known]; len(all) >= maxHandshakes {
		lost = oldestOfMost(all)
		l.end(lost)
		_ = lost.conn.Close()
	}
	l.handshakes[known] = append(l.handshakes[known], p)
	return p, lost
}

// oldestOfMost picks the oldest connection of the host that has most.
func oldestOfMost(all []*place) *place {
	counts := map[string]int{}
	for _, p := range all {
		counts[p.host]++
	}
	oldest := all[0]
	for _, p := range all {
		if counts[p.host] > counts[oldest.host] {
			oldest = p
		}
	}
	return oldest
}

// letIn counts a connection as an agent's, or says why there is no room for it.
func (l *limits) letIn(p *place, id string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.byPeer[id] >= maxConnsPerPeer:
		return fmt.Errorf("%d connections are open from %s, the limit", maxConnsPerPeer, id)
	case l.total >= maxConns:
		return fmt.Errorf("%d connections of agents are open, the limit", maxConns)
	}
	l.end(p)
	p.peer = id
	l.total++
	l.byPeer[id]++
	return nil
}

// leave releases a connection's slot.
func (l *limits) leave(p *place) {
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
func (l *limits) end(p *place) {
	if i := slices.Index(l.handshakes[p.known], p); i >= 0 {
		l.handshakes[p.known] = slices.Delete(l.handshakes[p.known], i, i+1)
	}
}

// open returns how many connections there are.
func (l *limits) open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.total + len(l.handshakes[true]) + len(l.handshakes[false])
}

func hostOf(addr net.Addr) string {
	host, _, err := net.SplitHostPort(addr.String())
	if err != nil {
		return addr.String()
	}
	return host
}
