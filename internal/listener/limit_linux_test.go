package listener

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/interrex/interrex/internal/silent"
)

// An answer that the system has taken for a peer that reads nothing keeps its connection
// for half a minute only.
func TestTCPBoundsAnswersThatAreNotRead(t *testing.T) {
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	go func() {
		if c, err := net.Dial("tcp", socket.Addr().String()); err == nil {
			defer c.Close()
			_, _ = c.Read(make([]byte, 1))
		}
	}()
	c, err := newLimited(Config{Listener: socket, Logger: silent.Logger{}}).accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	raw, err := c.Conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	wait := 0
	if err := raw.Control(func(fd uintptr) { wait, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT) }); err != nil {
		t.Fatal(err)
	}
	if got := time.Duration(wait) * time.Millisecond; err != nil || got != readWait {
		t.Errorf("it waits %v, %v", got, err)
	}
}
