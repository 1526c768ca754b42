package listener

import (
	"net"
	"time"
)

// slowRead is how long each read of a connection waits that was slowed down. HTTP/2 takes
// two reads for a frame.
const slowRead = 5 * time.Millisecond

// Slow makes a connection that a Listener has accepted be read slowly for d, so that its
// peer can send less.
func Slow(c net.Conn, d time.Duration) {
	for {
		switch wrapped := c.(type) {
		case *limitedConn:
			wrapped.slow.Store(time.Now().Add(d).UnixNano())
			return
		case interface{ NetConn() net.Conn }: // of TLS
			c = wrapped.NetConn()
		default:
			return
		}
	}
}

func (c *limitedConn) Read(p []byte) (int, error) {
	if until := c.slow.Load(); until != 0 && time.Now().UnixNano() < until {
		time.Sleep(slowRead)
	}
	return c.Conn.Read(p)
}
