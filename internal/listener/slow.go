package listener

import (
	"net"
	"time"
)

// slowRead is how long each read of a connection waits that was slowed down, and slowBytes
// how much it returns at most: with TLS a record has hundreds of frames.
const (
	slowRead  = 5 * time.Millisecond
	slowBytes = 128
)

// NoteWaste counts a request that the peer of a connection has reset before it was
// answered, or a small piece of a body that it has sent. A connection of a Listener whose
// peer wastes too much is read slowly for a while, so that it can send less.
func NoteWaste(c net.Conn) {
	for {
		switch wrapped := c.(type) {
		case *limitedConn:
			wrapped.waste()
			return
		case interface{ NetConn() net.Conn }: // of TLS
			c = wrapped.NetConn()
		default:
			return
		}
	}
}

func (c *limitedConn) waste() {
	if d := c.wasted.note(&c.of.wasters, c.address); d > 0 {
		c.slow.Store(time.Now().Add(d).UnixNano())
	}
}

func (c *limitedConn) Read(p []byte) (int, error) {
	if until := c.slow.Load(); until != 0 && time.Now().UnixNano() < until {
		time.Sleep(slowRead)
		p = p[:min(len(p), slowBytes)]
	}
	return c.Conn.Read(p)
}
