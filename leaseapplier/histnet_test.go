package leaseapplier_test

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// network carries connections within a bubble: in order, late, and until it breaks
// them.
type network struct {
	mu        sync.Mutex
	rnd       *rand.Rand
	calm      bool
	listeners map[string]*door
	links     map[*link]struct{}
	stalled   map[string]time.Time // nothing reaches or leaves these until then
	dead      map[string]bool
}

func newNetwork(rnd *rand.Rand) *network {
	return &network{
		rnd: rnd, listeners: map[string]*door{}, links: map[*link]struct{}{},
		stalled: map[string]time.Time{}, dead: map[string]bool{},
	}
}

// door is a net.Listener.
type door struct {
	name  string
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (n *network) listen(name string) *door {
	n.mu.Lock()
	defer n.mu.Unlock()
	d := &door{name: name, conns: make(chan net.Conn), done: make(chan struct{})}
	n.listeners[name] = d
	return d
}

func (d *door) Accept() (net.Conn, error) {
	select {
	case c := <-d.conns:
		return c, nil
	case <-d.done:
		return nil, net.ErrClosed
	}
}
func (d *door) Close() error   { d.once.Do(func() { close(d.done) }); return nil }
func (d *door) Addr() net.Addr { return place(d.name) }

type place string

func (place) Network() string  { return "bubble" }
func (p place) String() string { return string(p) }

// link is a connection between two nodes.
type link struct {
	n    *network
	ends [2]string
	half [2]*half
}

// dialer returns the connections of a node, by the name in front of the port.
func (n *network) dialer(from string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, _, address string) (net.Conn, error) {
		to, _, _ := net.SplitHostPort(address)
		n.mu.Lock()
		d := n.listeners[to]
		dead := n.dead[from] || n.dead[to] || d == nil
		n.mu.Unlock()
		if dead {
			return nil, &net.OpError{Op: "dial", Net: "bubble", Err: syscall.ECONNREFUSED}
		}
		l := &link{n: n, ends: [2]string{from, to}, half: [2]*half{newHalf(), newHalf()}}
		n.mu.Lock()
		n.links[l] = struct{}{}
		n.mu.Unlock()
		select {
		case d.conns <- &conn{l, 1}:
			return &conn{l, 0}, nil
		case <-d.done:
		case <-ctx.Done():
		}
		return nil, &net.OpError{Op: "dial", Net: "bubble", Err: syscall.ECONNREFUSED}
	}
}

// arrival is when what is written now arrives.
func (l *link) arrival(now time.Time) time.Time {
	l.n.mu.Lock()
	defer l.n.mu.Unlock()
	d := time.Duration(1+l.n.rnd.IntN(10)) * time.Millisecond
	if !l.n.calm && l.n.rnd.IntN(20) == 0 {
		d = time.Duration(l.n.rnd.IntN(400)) * time.Millisecond
	}
	at := now.Add(d)
	for _, end := range l.ends {
		if until := l.n.stalled[end]; until.After(now) && until.Add(d).After(at) {
			at = until.Add(d)
		}
	}
	return at
}

// breakSome breaks links: all of a node, or each with a chance.
func (n *network) breakSome(node string, chance float64) {
	n.mu.Lock()
	var broken []*link
	for l := range n.links {
		if l.ends[0] == node || l.ends[1] == node || chance >= 1 || n.rnd.Float64() < chance {
			broken = append(broken, l)
			delete(n.links, l)
		}
	}
	n.mu.Unlock()
	for _, l := range broken {
		l.half[0].end(syscall.ECONNRESET)
		l.half[1].end(syscall.ECONNRESET)
	}
}

func (n *network) stall(node string, d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stalled[node] = time.Now().Add(d)
}

func (n *network) kill(node string) {
	n.mu.Lock()
	n.dead[node] = true
	n.mu.Unlock()
	n.breakSome(node, 0)
}

func (n *network) calmDown() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.calm = true
	clear(n.stalled)
}

type chunk struct {
	at time.Time
	b  []byte
}

// half is what travels in one direction.
type half struct {
	mu       sync.Mutex
	cond     *sync.Cond
	chunks   []chunk
	err      error // after the chunks; ECONNRESET: at once
	deadline time.Time
}

func newHalf() *half {
	h := &half{}
	h.cond = sync.NewCond(&h.mu)
	return h
}

func (h *half) end(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err == nil || err == syscall.ECONNRESET {
		h.err = err
	}
	if err == syscall.ECONNRESET {
		h.chunks = nil
	}
	h.cond.Broadcast()
}

func (h *half) read(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		now := time.Now()
		var wake time.Time
		switch {
		case !h.deadline.IsZero() && !h.deadline.After(now):
			return 0, os.ErrDeadlineExceeded
		case len(h.chunks) > 0 && !h.chunks[0].at.After(now):
			n := copy(p, h.chunks[0].b)
			if h.chunks[0].b = h.chunks[0].b[n:]; len(h.chunks[0].b) == 0 {
				h.chunks = h.chunks[1:]
			}
			return n, nil
		case len(h.chunks) > 0:
			wake = h.chunks[0].at
		case h.err != nil:
			return 0, h.err
		}
		if !h.deadline.IsZero() && (wake.IsZero() || h.deadline.Before(wake)) {
			wake = h.deadline
		}
		if wake.IsZero() {
			h.cond.Wait()
			continue
		}
		timer := time.AfterFunc(wake.Sub(now), func() {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.cond.Broadcast()
		})
		h.cond.Wait()
		timer.Stop()
	}
}

func (h *half) write(p []byte, at time.Time) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil {
		return 0, syscall.EPIPE
	}
	if n := len(h.chunks); n > 0 && h.chunks[n-1].at.After(at) {
		at = h.chunks[n-1].at
	}
	h.chunks = append(h.chunks, chunk{at, append([]byte(nil), p...)})
	h.cond.Broadcast()
	return len(p), nil
}

// conn is one end of a link.
type conn struct {
	*link
	end int
}

func (c *conn) Read(p []byte) (int, error) { return c.half[c.end].read(p) }
func (c *conn) Write(p []byte) (int, error) {
	return c.half[1-c.end].write(p, c.arrival(time.Now()))
}
func (c *conn) Close() error {
	c.half[c.end].end(net.ErrClosed)
	c.half[1-c.end].end(io.EOF)
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	delete(c.n.links, c.link)
	return nil
}
func (c *conn) LocalAddr() net.Addr  { return place(c.ends[c.end]) }
func (c *conn) RemoteAddr() net.Addr { return place(c.ends[1-c.end]) }
func (c *conn) SetReadDeadline(t time.Time) error {
	h := c.half[c.end]
	h.mu.Lock()
	defer h.mu.Unlock()
	h.deadline = t
	h.cond.Broadcast()
	return nil
}
func (c *conn) SetWriteDeadline(time.Time) error { return nil }
func (c *conn) SetDeadline(t time.Time) error    { return c.SetReadDeadline(t) }
