package inbound

import (
	"net"
	"time"
)

// A peer is given up when TCP has had no sign of it for this long, with data
// under way (UserTimeout) or without (keepAlive, thrice).
const (
	UserTimeout = 10 * time.Second
	keepAlive   = 5 * time.Second
)

// Tune makes TCP notice a dead peer. A connection that is not TCP, as a test
// may bring, is left as it is; so is one that the system will not Tune, since
// deadlines bound it too.
func Tune(conn net.Conn) {
	c, ok := conn.(*net.TCPConn)
	if !ok {
		return
	}
	_ = c.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: keepAlive, Interval: keepAlive, Count: 3})
	setUserTimeout(c, UserTimeout)
}
