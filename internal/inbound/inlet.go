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

// Conn is a connection whose agent is known and has been let in.
type Conn struct {
	net.Conn
	Peer string
	Hear func() // notes that something of the agent has arrived
	// Current lets what was read count.
	Current func(n int, err error) (int, error)
	// Release gives back what the connection was counted under.
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

// Close closes the connection and gives back what it was counted under.
func (c *Conn) Close() error {
	c.once.Do(func() {
		c.err = c.Conn.Close()
		c.Release()
	})
	return c.err
}

// ErrEarlierLife is why nothing more that comes over a stream counts.
var ErrEarlierLife = errors.New("raft at the other agent has begun another life since")

// Inlet is a net.Listener that is fed with connections of one protocol. It
// closes with it every connection that it has handed out, and can be waited
// for until their users have let go of them.
type Inlet struct {
	addr net.Addr
	feed chan *Conn
	done chan struct{} // closed by Close

	mu     sync.Mutex
	closed bool
	open   map[*Held]struct{}
	users  sync.WaitGroup
}

// Held is a connection in the hands of the inlet's user.
type Held struct {
	*Conn
	in   *Inlet
	once sync.Once
}

// Close is the user's: it lets go of the connection.
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
	return fmt.Errorf("cannot hand over a connection of %s: nobody takes it", c.Peer)
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

// hold counts a connection as used until its user closes it.
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

// Close implements net.Listener: nothing more is accepted, and what has been
// handed out is Cut.
func (in *Inlet) Close() error {
	// Outside the lock, because closing a connection tells its owners, who may
	// be asking here meanwhile.
	for _, c := range in.shut() {
		Cut(c.Conn.Conn)
		_ = c.Conn.Close()
	}
	return nil
}

// shut lets nothing more out and gives what is still open.
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

// Done is closed with the inlet.
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

// Cut ends a connection without the farewell of TLS, for which a peer that does
// not read would make Close wait for 5 s.
func Cut(c net.Conn) {
	if secure, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = secure.NetConn()
	}
	_ = c.Close()
}

// WaitFor waits for wg, at most d on the wall clock: it bounds what only a bug
// or a stuck disk can make long.
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
