// Package ports owns the TCP ports that an agent listens on: which are bound, and
// how one is passed from the worker that served it to the next one.
package ports

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/juju/clock"
	"golang.org/x/sys/unix"
)

// The names of the ports.
const (
	API     = "api"
	Cluster = "cluster"
)

const (
	// lookupTimeout bounds the lookup of the address to bind.
	lookupTimeout = 5 * time.Second
	// takeoverTimeout is how long a bound port waits for the worker that is to
	// serve it. Then it is closed, so that callers are refused and do not hang.
	takeoverTimeout = time.Minute
)

// Ports records which TCP ports are bound, and passes them on: a reload binds a
// port before it changes anything, and the worker that serves it takes it over
// when it is restarted. An address that stays the same stays bound meanwhile.
type Ports struct {
	clock clock.Clock

	mu    sync.Mutex // for no longer than a system call: Report takes it
	open  bool
	live  map[string]*port  // what is served now
	at    map[string]string // where, sockets and the ports of others too
	noted chan struct{}     // closed when at changes
	next  map[string]Bound  // for the next start of the worker that serves it
}

// Bound is a port that no worker serves yet, under its configured address; a nil
// Listener: none is to be bound.
type Bound struct {
	net.Listener
	address string
	expiry  clock.Timer // nil: it is not in next
}

// Close closes a port that was not taken over.
func (b Bound) Close() error {
	if b.expiry != nil {
		b.expiry.Stop()
	}
	if b.Listener == nil {
		return nil
	}
	return b.Listener.Close()
}

// New returns Ports that do not keep passed ports before Open is called.
func New(c clock.Clock) *Ports {
	return &Ports{clock: c, live: map[string]*port{}, at: map[string]string{}, noted: make(chan struct{}), next: map[string]Bound{}}
}

// port is a bound port that a worker serves.
type port struct {
	net.Listener
	address string // as it is configured: a port 0 is another one once it is bound
	among   *Ports
	name    string
}

// Open keeps what is bound and not yet served, until Close.
func (p *Ports) Open() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = true
}

// Note notes an address that is listened on; "": it no longer is.
func (p *Ports) Note(name, address string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if address == "" {
		delete(p.at, name)
	} else {
		p.at[name] = address
	}
	close(p.noted)
	p.noted = make(chan struct{})
}

// Addresses returns what is listened on, by name, and a channel that is closed
// when that has changed.
func (p *Ports) Addresses() (at map[string]string, changed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.at), p.noted
}

// Listen serves a port: the one that a reload has bound, or a new one.
func (p *Ports) Listen(name, address string) (net.Listener, error) {
	if served := p.take(name, address); served != nil {
		return served, nil
	}
	numeric, err := Resolve(context.Background(), address)
	if err != nil {
		return nil, err
	}
	return p.takeOrBind(name, address, numeric)
}

func (p *Ports) take(name, address string) net.Listener {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.passed(name, address)
}

// takeOrBind tries to take the port once more: a reload may have come during the lookup.
func (p *Ports) takeOrBind(name, address, numeric string) (net.Listener, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if served := p.passed(name, address); served != nil {
		return served, nil
	}
	l, err := net.Listen("tcp", numeric)
	if err != nil {
		return nil, err
	}
	return p.serve(name, address, l), nil
}

// passed serves the port that a reload has bound; nil: there is none. One under
// another address stays: its configuration is about to be applied. The lock is held.
func (p *Ports) passed(name, address string) net.Listener {
	next, is := p.next[name]
	if !is || next.address != address {
		return nil
	}
	next.expiry.Stop()
	delete(p.next, name)
	return p.serve(name, address, next.Listener)
}

// serve notes that a port is served. The lock is held.
func (p *Ports) serve(name, address string, l net.Listener) net.Listener {
	served := &port{Listener: l, address: address, among: p, name: name}
	p.live[name] = served
	return served
}

// Close implements net.Listener. Under the lock, bind sees the port served or free.
func (l *port) Close() error {
	l.among.mu.Lock()
	defer l.among.mu.Unlock()
	if l.among.live[l.name] == l {
		delete(l.among.live, l.name)
	}
	return l.Listener.Close()
}

// Bind binds an address for the next start of the worker that serves name, beside the
// port served now and one that already waits for that start. The caller passes it to
// Pass, or closes it.
func (p *Ports) Bind(ctx context.Context, name, address string) (Bound, error) {
	l, err := p.again(name, func(b Bound) bool { return b.address == address })
	if l != nil || err != nil {
		return Bound{Listener: l, address: address}, err
	}
	numeric, err := Resolve(ctx, address)
	if err != nil {
		return Bound{}, err
	}
	l, err = p.again(name, func(b Bound) bool { return b.Addr().String() == numeric })
	if l == nil && err == nil {
		l, err = net.Listen("tcp", numeric)
	}
	if errors.Is(err, syscall.EADDRINUSE) {
		err = p.explain(name, numeric, err)
	}
	return Bound{Listener: l, address: address}, err
}

// again duplicates a port that is already bound for name; nil: there is none.
func (p *Ports) again(name string, is func(Bound) bool) (net.Listener, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range p.of(name) {
		if is(b) {
			return duplicate(b.Listener)
		}
	}
	return nil, nil
}

// of returns what is bound for name. The lock is held.
func (p *Ports) of(name string) (all []Bound) {
	if live := p.live[name]; live != nil {
		all = append(all, Bound{Listener: live.Listener, address: live.address})
	}
	if next, is := p.next[name]; is {
		all = append(all, next)
	}
	return all
}

// explain adds to err that this agent itself uses the port, if it does.
func (p *Ports) explain(name, numeric string, err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range p.of(name) {
		if samePort(numeric, b.Addr()) {
			return fmt.Errorf("%w: this agent itself listens on %s: change the port too, or restart the agent", err, b.Addr())
		}
	}
	return err
}

// Resolve returns the numeric form of an address to bind, which needs no lookup.
func Resolve(ctx context.Context, address string) (string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	number, err := net.DefaultResolver.LookupPort(ctx, "tcp", port)
	if err != nil || host == "" {
		return net.JoinHostPort(host, strconv.Itoa(number)), err
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return "", err
	}
	// As net.Listen does, IPv4 comes first.
	ip := ips[max(0, slices.IndexFunc(ips, func(ip netip.Addr) bool { return ip.Unmap().Is4() }))]
	return netip.AddrPortFrom(ip.Unmap(), uint16(number)).String(), nil
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

// Pass leaves a bound port to the next start of the worker that serves name, in place
// of one that already waits for it.
func (p *Ports) Pass(name string, next Bound) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drop(name)
	if next.Listener == nil {
		return
	}
	if !p.open {
		_ = next.Close() // the agent is stopping
		return
	}
	next.expiry = p.clock.AfterFunc(takeoverTimeout, func() { p.expire(name, next.Listener) })
	p.next[name] = next
}

// drop closes the port that waits for the next start of the worker that serves name.
// The lock is held.
func (p *Ports) drop(name string) {
	_ = p.next[name].Close()
	delete(p.next, name)
}

// expire closes a port that was not taken over in time.
func (p *Ports) expire(name string, l net.Listener) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next[name].Listener == l {
		p.drop(name)
	}
}

// Close closes the ports that were not taken over.
func (p *Ports) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = false
	for name := range p.next {
		p.drop(name)
	}
	return nil
}

// Report shows what is bound.
func (p *Ports) Report() map[string]any {
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
