package transport

import (
	"fmt"
	"net"
	"sync"
)

// The limits of incoming connections. A healthy peer keeps about six: three
// pooled raft streams, and HTTP/2 connections for forwarded requests. An IP may
// stand for a whole cluster behind one address, as on a developer's machine.
const (
	maxConns        = 1024
	maxConnsPerIP   = 256
	maxConnsPerPeer = 64
)

// limits counts incoming connections. Its zero value counts from none.
type limits struct {
	mu     sync.Mutex
	total  int
	byIP   map[string]int
	byPeer map[string]int
}

// admit counts a connection from remote, or says why there is no room for it.
// The returned func gives the place back.
func (l *limits) admit(remote net.Addr) (func(), error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.total >= maxConns {
		return nil, fmt.Errorf("%d connections are open, the limit", maxConns)
	}
	if l.byIP == nil {
		l.byIP = map[string]int{}
	}
	ip := hostOf(remote)
	if err := take(l.byIP, ip, maxConnsPerIP); err != nil {
		return nil, err
	}
	l.total++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.total--
		giveBack(l.byIP, ip)
	}, nil
}

// admitPeer counts a connection once its agent is known.
func (l *limits) admitPeer(id string) (func(), error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byPeer == nil {
		l.byPeer = map[string]int{}
	}
	if err := take(l.byPeer, id, maxConnsPerPeer); err != nil {
		return nil, err
	}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		giveBack(l.byPeer, id)
	}, nil
}

func (l *limits) open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.total
}

func take(counts map[string]int, key string, limit int) error {
	if counts[key] >= limit {
		return fmt.Errorf("%d connections are open from %s, the limit", limit, key)
	}
	counts[key]++
	return nil
}

func giveBack(counts map[string]int, key string) {
	if counts[key]--; counts[key] == 0 {
		delete(counts, key)
	}
}

func hostOf(addr net.Addr) string {
	host, _, err := net.SplitHostPort(addr.String())
	if err != nil {
		return addr.String()
	}
	return host
}
