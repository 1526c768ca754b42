package inbound

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"time"
)

// Conn is a connection of an accepted agent.
type Conn struct {
	net.Conn
	Peer string
	Hear func() // called when something from the agent has arrived
	// Current returns the result of a read, or an error if it must not count.
	Current func(n int, err error) (int, error)
	// Release gives up the connection's place in the limits.
	Release func()

	once sync.Once
	err  error
}

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.Hear()
	}
	return c.Current(n, err)
}

// Close closes the connection and gives up its place in the limits.
func (c *Conn) Close() error {
	c.once.Do(func() {
		c.err = c.Conn.Close()
		c.Release()
	})
	return c.err
}

// PeerOf returns the ID of the agent at the other end of a connection of an inlet,
// which may be wrapped in one that has NetConn; empty: it is another.
func PeerOf(c net.Conn) string {
	if wrapped, is := c.(interface{ NetConn() net.Conn }); is {
		c = wrapped.NetConn()
	}
	if held, is := c.(*Held); is {
		return held.Peer
	}
	return ""
}

// ErrEarlierLife is the error of reads from a stream of an earlier life of raft.
var ErrEarlierLife = errors.New("raft at the other agent has since begun another life")

// Inlet is a net.Listener to which connections of one protocol are delivered. Its
// Close also closes every connection that it has returned, and Wait waits until
// their users have closed them.
type Inlet struct {
	addr net.Addr
	feed chan *Conn
	done chan struct{} // closed by Close

	mu     sync.Mutex
	closed bool
	open   map[*Held]struct{}
	users  sync.WaitGroup
}

// Held is a connection that the inlet's user has accepted.
type Held struct {
	*Conn
	in   *Inlet
	once sync.Once
}

// Close is called by the user when it no longer uses the connection.
func (c *Held) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() {
		c.in.mu.Lock()
		delete(c.in.open, c)
		c.in.mu.Unlock()
		c.in.users.Done()
	})
	return err
}

// NewInlet returns an inlet whose address is addr.
func NewInlet(addr net.Addr) *Inlet {
	return &Inlet{addr: addr, feed: make(chan *Conn), done: make(chan struct{}), open: map[*Held]struct{}{}}
}

// Deliver hands a connection to the next caller of Accept, within ctx, or closes it.
func (in *Inlet) Deliver(ctx context.Context, c *Conn) error {
	select {
	case in.feed <- c:
		return nil
	case <-in.done:
	case <-ctx.Done():
	}
	_ = c.Close()
	return fmt.Errorf("cannot deliver a connection of %s: it was not accepted", c.Peer)
}

// Accept implements net.Listener.
func (in *Inlet) Accept() (net.Conn, error) {
	select {
	case c := <-in.feed:
		return in.hold(c)
	case <-in.done:
		return nil, net.ErrClosed
	}
}

// hold records a connection as in use until its user closes it.
func (in *Inlet) hold(c *Conn) (net.Conn, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed {
		_ = c.Close()
		return nil, net.ErrClosed
	}
	held := &Held{Conn: c, in: in}
	in.open[held] = struct{}{}
	in.users.Add(1)
	return held, nil
}

// Addr implements net.Listener.
func (in *Inlet) Addr() net.Addr { return in.addr }

// Close implements net.Listener: nothing more is accepted, and accepted connections
// are Cut.
func (in *Inlet) Close() error {
	// Outside the lock, because closing a connection calls its owners, which may
	// be calling the inlet at the same time.
	for _, c := range in.shut() {
		Cut(c.Conn.Conn)
		_ = c.Conn.Close()
	}
	return nil
}

// shut stops Accept and returns the connections that are still open.
func (in *Inlet) shut() []*Held {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed {
		return nil
	}
	in.closed = true
	close(in.done)
	return slices.Collect(maps.Keys(in.open))
}

// Done returns a channel that is closed with the inlet.
func (in *Inlet) Done() <-chan struct{} { return in.done }

// IsClosed reports whether the inlet is closed.
func (in *Inlet) IsClosed() bool {
	select {
	case <-in.done:
		return true
	default:
		return false
	}
}

// Wait returns when every user has closed its connection, or after d.
func (in *Inlet) Wait(d time.Duration) bool {
	return WaitFor(&in.users, d)
}

// Cut closes a connection without TLS's close_notify, for which Close would wait 5 s
// if the peer does not read.
func Cut(c net.Conn) {
	if secure, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = secure.NetConn()
	}
	_ = c.Close()
}

// WaitFor waits for wg, for at most d by the wall clock, which is only reached with
// a bug or a hung disk.
func WaitFor(wg *sync.WaitGroup, d time.Duration) bool {
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

// IDAddr is an agent's ID as a net.Addr: the address that raft knows.
type IDAddr string

// Network implements net.Addr.
func (IDAddr) Network() string { return "interrex" }

// String implements net.Addr.
func (a IDAddr) String() string { return string(a) }
