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
func (l *limits) admit(remote net.Addr) (release func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ip := hostOf(remote)
	if l.total >= maxConns {
		return nil, fmt.Errorf("%d connections are open, the limit", maxConns)
	}
	release, err = take(&l.mu, &l.byIP, ip, maxConnsPerIP)
	if err != nil {
		return nil, err
	}
	l.total++
	return func() {
		release()
		l.mu.Lock()
		l.total--
		l.mu.Unlock()
	}, nil
}

// admitPeer counts a connection once its agent is known.
func (l *limits) admitPeer(id string) (release func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return take(&l.mu, &l.byPeer, id, maxConnsPerPeer)
}

func (l *limits) open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.total
}

// take raises counts[key]; mu is held now and is what the release locks.
func take(mu *sync.Mutex, counts *map[string]int, key string, limit int) (func(), error) {
	if *counts == nil {
		*counts = map[string]int{}
	}
	m := *counts
	if m[key] >= limit {
		return nil, fmt.Errorf("%d connections are open from %s, the limit", limit, key)
	}
	m[key]++
	return func() {
		mu.Lock()
		defer mu.Unlock()
		if m[key]--; m[key] == 0 {
			delete(m, key)
		}
	}, nil
}

func hostOf(addr net.Addr) string {
	host, _, err := net.SplitHostPort(addr.String())
	if err != nil {
		return addr.String()
	}
	return host
}
