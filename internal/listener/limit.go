package listener

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/interrex/interrex"
)

// limitedListener closes connections beyond its slots at once: a caller that
// is refused tries elsewhere, one that is left in the backlog hangs.
type limitedListener struct {
	net.Listener
	slots  chan struct{}
	logger interrex.Logger
	warned atomic.Int64 // when, in unix seconds
}

// warnEvery keeps a flood of connections from being one of lines too.
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
			_ = c.Close() // nobody waits for more of it
			l.warn()
		}
	}
}

func (l *limitedListener) warn() {
	now, last := time.Now().Unix(), l.warned.Load()
	if now-last >= warnEvery && l.warned.CompareAndSwap(last, now) {
		l.logger.Warningf("%d connections on %s are the most: more are closed", cap(l.slots), l.Addr())
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

// NetConn is the connection itself, for ListenerConfig.ConnContext.
func (c *limitedConn) NetConn() net.Conn { return c.Conn }
