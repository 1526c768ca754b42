package listener

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/interrex/interrex"
)

// limitedListener immediately closes connections beyond its slots: a refused caller
// tries another agent, but one left in the backlog hangs.
type limitedListener struct {
	net.Listener
	slots  chan struct{}
	logger interrex.Logger
	warned atomic.Int64 // time of the last warning, in Unix seconds
}

// warnEvery keeps a flood of connections from flooding the log.
const warnEvery = 60 // seconds

func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case l.slots <- struct{}{}:
			return &limitedConn{Conn: c, slots: l.slots}, nil
		default:
			_ = c.Close() // nothing was sent on it
			l.warn()
		}
	}
}

func (l *limitedListener) warn() {
	now, last := time.Now().Unix(), l.warned.Load()
	if now-last >= warnEvery && l.warned.CompareAndSwap(last, now) {
		l.logger.Warningf("%s has reached its limit of %d connections: further ones are closed", l.Addr(), cap(l.slots))
	}
}

// limitedConn releases its slot when it is closed.
type limitedConn struct {
	net.Conn
	slots chan struct{}
	once  sync.Once
}

func (c *limitedConn) Close() error {
	c.once.Do(func() { <-c.slots })
	return c.Conn.Close()
}

// NetConn returns the underlying connection, for Config.ConnContext.
func (c *limitedConn) NetConn() net.Conn { return c.Conn }
