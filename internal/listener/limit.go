package listener

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/interrex/interrex/internal/inbound"
)

// limitedListener immediately closes connections beyond its limits: a refused caller
// tries another agent, but one left in the backlog hangs.
type limitedListener struct {
	net.Listener
	most, mostFrom int // in all, and from one address
	refusals       *inbound.Refusals
	wasters        wasters
	metrics        *Metrics

	mu   sync.Mutex
	open int
	from map[netip.Addr]*peers
}

// peers are what has connections from one address.
type peers struct {
	open  int
	turns chan struct{} // to be read slowly; nil: they are not limited together
}

// shareOfOne is the part of all connections that one address may have, so that one
// machine cannot take all.
const shareOfOne = 4

// readWait is how long a peer may leave what was sent to it unread, once its side of
// the connection has no more room: else an answer that the system has taken for it would
// keep a connection open until it counts as idle.
const readWait = 30 * time.Second

func newLimited(c Config) *limitedListener {
	most := c.MaxConnections
	if most == 0 {
		most = DefaultMaxConnections
	}
	return &limitedListener{
		Listener: c.Listener, most: most, mostFrom: max(1, most/shareOfOne), metrics: c.Metrics,
		refusals: inbound.NewRefusals(c.Logger), from: map[netip.Addr]*peers{},
	}
}

// accept returns the next connection within the limits.
func (l *limitedListener) accept() (*limitedConn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		address := addressOf(c)
		from, err := l.enter(address)
		if err != nil {
			_ = c.Close() // nothing was sent on it
			continue
		}
		inbound.SetUserTimeout(c, readWait)
		return &limitedConn{Conn: c, of: l, address: address, from: from}, nil
	}
}

// addressOf returns the address of a peer, of IPv6 the network, which is what one
// machine has; the zero address if it has none.
func addressOf(c net.Conn) netip.Addr {
	tcp, is := c.RemoteAddr().(*net.TCPAddr)
	if !is {
		return netip.Addr{}
	}
	a := tcp.AddrPort().Addr().Unmap()
	if a.Is6() {
		p, _ := a.Prefix(64) // which an IPv6 address has
		return p.Addr()
	}
	return a
}

// enter counts a connection, or returns why it is one too many.
func (l *limitedListener) enter(a netip.Addr) (*peers, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	from := l.from[a]
	switch {
	case l.open >= l.most:
		return nil, l.refuse("all", "", fmt.Errorf("%d are open, which is the limit", l.most))
	case a.IsValid() && from != nil && from.open >= l.mostFrom:
		return nil, l.refuse("address", a.String(), fmt.Errorf("%d are open from %s, which is the limit for one address", l.mostFrom, a))
	}
	if from == nil {
		from = &peers{}
		if a.IsValid() { // the callers of the socket are many
			from.turns = make(chan struct{}, slowAtOnce)
		}
		l.from[a] = from
	}
	l.open++
	from.open++
	l.metrics.opened(1)
	return from, nil
}

func (l *limitedListener) refuse(limit, who string, err error) error {
	l.metrics.refused(limit)
	l.refusals.Note(who, err, "closed a new connection on %s", l.Addr())
	return err
}

func (l *limitedListener) leave(a netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open--
	if l.from[a].open--; l.from[a].open == 0 {
		delete(l.from, a)
	}
	l.metrics.opened(-1)
}

// count returns the number of open connections.
func (l *limitedListener) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open
}

// limitedConn gives up its place when it is closed.
type limitedConn struct {
	net.Conn
	of      *limitedListener
	address netip.Addr
	from    *peers // of the address
	once    sync.Once
	wasted  waste
	slow    atomic.Int64 // until when it is read slowly, in Unix nanoseconds
}

func (c *limitedConn) Close() error {
	c.once.Do(func() { c.of.leave(c.address) })
	return c.Conn.Close()
}
