package listener

import (
	"net"
	"time"
)

// slowRead is how long each read of a connection waits that was slowed down, slowBytes how
// much it returns at most, since with TLS a record has hundreds of frames, and slowAtOnce
// how many connections from one address wait at once: further ones wait for their turn.
const (
	slowRead   = 5 * time.Millisecond
	slowBytes  = 128
	slowAtOnce = 16
)

// NoteWaste counts a request that the peer of a connection has reset before it was
// answered, or a small piece of a body that it has sent. The frames that no handler
// receives are counted without it. A connection of a Listener whose peer wastes too much
// is read slowly for a while, so that it can send less.
func NoteWaste(c net.Conn) {
	if own, is := c.(*clearConn); is {
		own.below.waste()
	}
}

func (c *limitedConn) waste() {
	if d := c.wasted.note(&c.of.wasters, c.address); d > 0 {
		c.slow.Store(time.Now().Add(d).UnixNano())
	}
}

func (c *limitedConn) Read(p []byte) (int, error) {
	if until := c.slow.Load(); until != 0 && time.Now().UnixNano() < until {
		c.pause()
		p = p[:min(len(p), slowBytes)]
	}
	return c.Conn.Read(p)
}

func (c *limitedConn) pause() {
	if turns := c.from.turns; turns != nil {
		turns <- struct{}{}
		defer func() { <-turns }()
	}
	time.Sleep(slowRead)
}
