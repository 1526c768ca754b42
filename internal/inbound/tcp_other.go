//go:build !linux

package inbound

import (
	"net"
	"time"
)

// setUserTimeout does nothing where the system has no such option: keep-alive
// and deadlines remain.
func setUserTimeout(*net.TCPConn, time.Duration) {}

// HasEnded reports nothing where the system does not tell.
func HasEnded(net.Conn) bool { return false }
