package listener

import (
	"net"
	"time"
)

// slowRead is how long each read of a connection waits that was slowed down. HTTP/2 takes
// two reads for a frame.
const slowRead = 5 * time.Millisecond

// NoteReset counts a request that the peer of a connection has reset before it was
// answered. A connection of a Listener whose peer resets too many is read slowly for a
// while, so that it can send less.
func NoteReset(c net.Conn) {
	for {
		switch wrapped := c.(type) {
		case *limitedConn:
			wrapped.reset()
			return
		case interface{ NetConn() net.Conn }: // of TLS
			c = wrapped.NetConn()
		default:
			return
		}
	}
}

func (c *limitedConn) reset() {
	if d := c.resets.note(&c.of.resetters, c.address); d > 0 {
		c.slow.Store(time.Now().Add(d).UnixNano())
	}
}

func (c *limitedConn) Read(p []byte) (int, error) {
	if until := c.slow.Load(); until != 0 && time.Now().UnixNano() < until {
		time.Sleep(slowRead)
	}
	return c.Conn.Read(p)
}
