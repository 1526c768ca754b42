package inbound

import (
	"net"
	"time"
)

// A connection is closed when TCP has received nothing from the peer for this long,
// with unacknowledged data (UserTimeout) or without (three times keepAlive).
const (
	UserTimeout = 10 * time.Second
	keepAlive   = 5 * time.Second
)

// Tune makes TCP detect a dead peer. A connection that is not TCP, as in some tests,
// is left as it is; failures are ignored, since deadlines bound the connection too.
func Tune(conn net.Conn) {
	c, ok := conn.(*net.TCPConn)
	if !ok {
		return
	}
	_ = c.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: keepAlive, Interval: keepAlive, Count: 3})
	setUserTimeout(c, UserTimeout)
}

// SetUserTimeout lets TCP close a connection when the peer has not acknowledged what was
// sent, or has had no room for it, for so long. A connection that is not TCP is left as
// it is.
func SetUserTimeout(conn net.Conn, d time.Duration) {
	if c, ok := conn.(*net.TCPConn); ok {
		setUserTimeout(c, d)
	}
}
