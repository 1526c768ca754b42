package interrextest

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/interrex/interrex/internal/pipe"
)

// network carries the connections between the agents of a cluster, and can be cut
// in one direction between any two of them.
type network struct {
	address func(hostport string) (i int, address string, known bool)
	pumps   sync.WaitGroup

	mu      sync.Mutex
	cuts    map[link]bool
	changed chan struct{} // closed when cuts has changed
	closed  bool
	conns   map[net.Conn]link
	inside  map[string]*pipe.Listener // on virtual time, by agent's ID, or insideAPI
}

// link is one direction between two agents.
type link struct{ from, to int }

func newNetwork(address func(string) (int, string, bool), virtual bool) *network {
	n := &network{
		address: address, cuts: map[link]bool{}, changed: make(chan struct{}), conns: map[net.Conn]link{},
	}
	if virtual {
		n.inside = map[string]*pipe.Listener{}
	}
	return n
}

// listener makes the listeners of agent i within the process: of its cluster
// port, and of its socket.
func (n *network) listener(i int) func(network, address string) (net.Listener, error) {
	return func(network, _ string) (net.Listener, error) {
		address := id(i)
		if network == "unix" {
			address = insideAPI(i)
		}
		l := pipe.Listen()
		n.mu.Lock()
		defer n.mu.Unlock()
		n.inside[address] = l
		return l, nil
	}
}

// insideAPI returns the address of agent i's API within the process.
func insideAPI(i int) string { return id(i) + ":80" }

// dialInside connects to a listener within the process.
func (n *network) dialInside(ctx context.Context, address string) (net.Conn, error) {
	n.mu.Lock()
	l := n.inside[address]
	n.mu.Unlock()
	if l == nil {
		return nil, fmt.Errorf("cannot reach %s: nothing listens there", address)
	}
	return l.Dial(ctx, "", "")
}

// dialSocket connects a client to a socket.
func (n *network) dialSocket(ctx context.Context, _, address string) (net.Conn, error) {
	return n.dialInside(ctx, address)
}

// connect connects to an address, and pair makes both ends of a connection.
func (n *network) connect(ctx context.Context, network, address string) (net.Conn, error) {
	if n.inside != nil {
		return n.dialInside(ctx, address)
	}
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

func (n *network) pair() (net.Conn, net.Conn, error) {
	if n.inside != nil {
		a, b := pipe.New()
		return a, b, nil
	}
	return pair()
}

func (n *network) cut(from, to int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cuts[link{from, to}] = true
}

// isolate cuts an agent off from all others. restore removes the cuts that it has
// added.
func (n *network) isolate(i, agents int) (restore func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var added []link
	for j := range agents {
		for _, l := range []link{{i, j}, {j, i}} {
			if i != j && !n.cuts[l] {
				n.cuts[l] = true
				added = append(added, l)
			}
		}
	}
	return func() { n.mend(added...) }
}

// drop closes an agent's connections and discards what is in flight.
func (n *network) drop(i int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for conn, l := range n.conns {
		if l.from == i || l.to == i {
			conn.Close()
		}
	}
}

// mend removes some cuts.
func (n *network) mend(links ...link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, l := range links {
		delete(n.cuts, l)
	}
	close(n.changed)
	n.changed = make(chan struct{})
}

func (n *network) heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cuts)
	close(n.changed)
	n.changed = make(chan struct{})
}

// close closes all connections and waits for the goroutines that carry them.
func (n *network) close() {
	n.mu.Lock()
	n.closed = true
	for conn := range n.conns {
		conn.Close()
	}
	n.mu.Unlock()
	n.heal()
	n.pumps.Wait()
}

// open waits until a link is not cut.
func (n *network) open(ctx context.Context, l link) error {
	for {
		n.mu.Lock()
		cut, changed := n.cuts[l], n.changed
		n.mu.Unlock()
		if !cut {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// dialer connects one agent to the others.
type dialer struct {
	network *network
	from    int
}

// DialContext connects through the network.
func (d dialer) DialContext(ctx context.Context, network, hostport string) (net.Conn, error) {
	to, address, known := d.network.address(hostport)
	if !known || address == "" {
		return nil, fmt.Errorf("cannot reach %s: it is not running", hostport)
	}
	for _, l := range []link{{d.from, to}, {to, d.from}} {
		if err := d.network.open(ctx, l); err != nil {
			return nil, fmt.Errorf("cannot reach %s: %w", hostport, err)
		}
	}
	far, err := d.network.connect(ctx, network, address)
	if err != nil {
		return nil, err
	}
	mine, near, err := d.network.pair()
	if err != nil {
		far.Close()
		return nil, err
	}
	if !d.network.carry(near, far, d.from, to) {
		mine.Close()
		return nil, net.ErrClosed
	}
	return mine, nil
}

// pair returns the two ends of a new connection.
func pair() (net.Conn, net.Conn, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	a, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return nil, nil, err
	}
	b, err := l.Accept()
	if err != nil {
		a.Close()
		return nil, nil, err
	}
	return a, b, nil
}

// carry copies in both directions, each while its link is not cut. It reports
// whether the network is still open.
func (n *network) carry(near, far net.Conn, from, to int) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		near.Close()
		far.Close()
		return false
	}
	n.conns[near], n.conns[far] = link{from, to}, link{from, to}
	n.pumps.Go(func() { n.pump(far, near, link{from, to}) })
	n.pumps.Go(func() { n.pump(near, far, link{to, from}) })
	return true
}

// pump copies in one direction, including the end of the stream. A cut also holds
// back what was already read.
func (n *network) pump(to, from net.Conn, l link) {
	_, _ = io.Copy(gated{n, to, l}, from)
	_ = n.open(context.Background(), l)
	to.Close()
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.conns, to)
}

// gated writes while a link is not cut.
type gated struct {
	network *network
	to      io.Writer
	link    link
}

// Write waits for the link first.
func (g gated) Write(b []byte) (int, error) {
	if err := g.network.open(context.Background(), g.link); err != nil {
		return 0, err
	}
	return g.to.Write(b)
}
