package transport

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"time"
)

// peerConn is a connection whose agent is known and has been let in.
type peerConn struct {
	net.Conn
	peer string
	hear func() // notes that something of the agent has arrived
	// current lets what was read count.
	current func(n int, err error) (int, error)

	once    sync.Once
	release func()
	err     error
}

// Read implements net.Conn.
func (c *peerConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.hear()
	}
	return c.current(n, err)
}

// Close closes the connection and gives back what it was counted under.
func (c *peerConn) Close() error {
	c.once.Do(func() {
		c.err = c.Conn.Close()
		c.release()
	})
	return c.err
}

// inlet is a net.Listener that is fed with connections of one protocol. It
// closes with it every connection that it has handed out, and can be waited
// for until their users have let go of them.
type inlet struct {
	addr net.Addr
	feed chan *peerConn
	done chan struct{} // closed by Close

	mu     sync.Mutex
	closed bool
	open   map[*heldConn]struct{}
	users  sync.WaitGroup
}

// heldConn is a connection in the hands of the inlet's user.
type heldConn struct {
	*peerConn
	in   *inlet
	once sync.Once
}

// Close is the user's: it lets go of the connection.
func (c *heldConn) Close() error {
	err := c.peerConn.Close()
	c.once.Do(func() {
		c.in.mu.Lock()
		delete(c.in.open, c)
		c.in.mu.Unlock()
		c.in.users.Done()
	})
	return err
}

func newInlet(addr net.Addr) *inlet {
	return &inlet{addr: addr, feed: make(chan *peerConn), done: make(chan struct{}), open: map[*heldConn]struct{}{}}
}

// deliver hands a connection to the next caller of Accept, within ctx, or closes it.
func (in *inlet) deliver(ctx context.Context, c *peerConn) error {
	select {
	case in.feed <- c:
		return nil
	case <-in.done:
	case <-ctx.Done():
	}
	_ = c.Close()
	return fmt.Errorf("cannot hand over a connection of %s: nobody takes it", c.peer)
}

// Accept implements net.Listener.
func (in *inlet) Accept() (net.Conn, error) {
	select {
	case c := <-in.feed:
		return in.hold(c)
	case <-in.done:
		return nil, net.ErrClosed
	}
}

// hold counts a connection as used until its user closes it.
func (in *inlet) hold(c *peerConn) (net.Conn, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed {
		_ = c.Close()
		return nil, net.ErrClosed
	}
	held := &heldConn{peerConn: c, in: in}
	in.open[held] = struct{}{}
	in.users.Add(1)
	return held, nil
}

// Addr implements net.Listener.
func (in *inlet) Addr() net.Addr { return in.addr }

// Close implements net.Listener: nothing more is accepted, and what has been
// handed out is cut.
func (in *inlet) Close() error {
	// Outside the lock, because closing a connection tells its owners, who may
	// be asking here meanwhile.
	for _, c := range in.shut() {
		cut(c.Conn)
		_ = c.peerConn.Close()
	}
	return nil
}

// shut lets nothing more out and returns what is still open.
func (in *inlet) shut() []*heldConn {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed {
		return nil
	}
	in.closed = true
	close(in.done)
	return slices.Collect(maps.Keys(in.open))
}

func (in *inlet) isClosed() bool {
	select {
	case <-in.done:
		return true
	default:
		return false
	}
}

// wait returns when every user has closed its connection, or after d.
func (in *inlet) wait(d time.Duration) bool {
	return waitFor(&in.users, d)
}

// cut ends a connection without the farewell of TLS, for which a peer that does
// not read would make Close wait for 5 s.
func cut(c net.Conn) {
	if secure, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = secure.NetConn()
	}
	_ = c.Close()
}

// waitFor waits for wg, at most d on the wall clock: it bounds what only a bug
// or a stuck disk can make long.
func waitFor(wg *sync.WaitGroup, d time.Duration) bool {
	done := make(chan struct{})
	go func() {
		wg.Wait()
		close(done)
	}()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}
