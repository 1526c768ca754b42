package manifolds

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"

	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"
	"golang.org/x/sys/unix"
)

// The names of the ports, as Present.Addresses calls them.
const (
	portAPI     = "api"
	portCluster = "cluster"
)

// ports knows which TCP ports are bound, and passes them on: a reload binds a
// port before it changes anything, and the worker that serves it takes it over
// when it is restarted. An address that stays the same stays bound meanwhile.
type ports struct {
	mu   sync.Mutex
	open bool
	live map[string]*port // what is served now
	next map[string]bound // for the next start of the worker that serves it
}

// bound is a port that nobody serves yet, under the address that is configured.
type bound struct {
	net.Listener
	address string
}

func newPorts() *ports {
	return &ports{live: map[string]*port{}, next: map[string]bound{}}
}

// port is a bound port that a worker serves.
type port struct {
	net.Listener
	address string // as it is configured: a port 0 is another one once it is bound
	among   *ports
	name    string
}

// manifold owns what is bound and not yet served.
func (p *ports) manifold() dependency.Manifold {
	return dependency.Manifold{
		Start: func(dependency.Context) (worker.Worker, error) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.open = true
			return give(keep(p.close, p.report), p), nil
		},
		Output: giveOutput,
	}
}

// listen serves a port: the one that a reload has bound, or a new one.
func (p *ports) listen(name, address string) (net.Listener, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	passed, is := p.next[name]
	delete(p.next, name)
	l := passed.Listener
	if is && passed.address != address {
		_ = passed.Close() // nobody has accepted from it
		is = false
	}
	if !is {
		var err error
		if l, err = net.Listen("tcp", address); err != nil {
			return nil, err
		}
	}
	served := &port{Listener: l, address: address, among: p, name: name}
	p.live[name] = served
	return served, nil
}

// Close implements net.Listener.
func (l *port) Close() error {
	l.among.mu.Lock()
	if l.among.live[l.name] == l {
		delete(l.among.live, l.name)
	}
	l.among.mu.Unlock()
	return l.Listener.Close()
}

// bind binds an address for the next start of who serves name, beside what is
// served now. pass, or the caller, closes it.
func (p *ports) bind(name, address string) (bound, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	live := p.live[name]
	if live != nil && (live.address == address || resolved(address) == live.Addr().String()) {
		if l, err := duplicate(live.Listener); err == nil {
			return bound{l, address}, nil
		}
		// Its worker is closing it.
	}
	l, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) && live != nil && samePort(address, live.Addr()) {
		err = fmt.Errorf("%w: this agent itself listens on %s: change the port too, or restart the agent", err, live.Addr())
	}
	return bound{l, address}, err
}

// resolved is the numeric form of an address; empty: it has none.
func resolved(address string) string {
	tcp, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return ""
	}
	return tcp.String()
}

func samePort(address string, bound net.Addr) bool {
	_, port, _ := net.SplitHostPort(address)
	_, other, _ := net.SplitHostPort(bound.String())
	return port == other
}

// duplicate makes a second listener on the same port: connections wait while at
// least one of them is open.
func duplicate(l net.Listener) (net.Listener, error) {
	tcp, is := l.(*net.TCPListener)
	if !is {
		return nil, fmt.Errorf("%T has no descriptor", l)
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil, err
	}
	copied := -1
	// TCPListener.File would make the shared socket blocking.
	if failed := raw.Control(func(fd uintptr) {
		copied, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
	}); failed != nil || err != nil {
		return nil, errors.Join(failed, err)
	}
	file := os.NewFile(uintptr(copied), "listener")
	defer file.Close() // FileListener has a copy of its own
	return net.FileListener(file)
}

// pass leaves a bound port to the next start of who serves name.
func (p *ports) pass(name string, next bound) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if before, is := p.next[name]; is {
		_ = before.Close() // nobody has accepted from it
	}
	if !p.open {
		_ = next.Close() // the agent stops
		return
	}
	p.next[name] = next
}

// close closes what nobody has taken over.
func (p *ports) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = false
	var failed []error
	for _, l := range p.next {
		failed = append(failed, l.Close())
	}
	clear(p.next)
	return errors.Join(failed...)
}

func (p *ports) report() map[string]any {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := map[string]any{}
	for name, l := range p.live {
		r[name] = l.Addr().String()
	}
	for name, l := range p.next {
		r["next-"+name] = l.Addr().String()
	}
	return r
}
