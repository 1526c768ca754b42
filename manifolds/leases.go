package manifolds

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/api"
	"github.com/interrex/interrex/client"
)

// ownClient is the agent's own client of its API: the same code, retries and
// request ids as everybody's, over connections that never leave the process.
type ownClient struct {
	leases interrex.Leases
	client *client.Client
}

// releaseTimeout bounds how long a drain waits for work that runs under leases
// to stop.
const releaseTimeout = 10 * time.Second

// drain ends what is held, and waits until the holders have released it.
func (c *ownClient) drain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, releaseTimeout)
	defer cancel()
	return c.client.DrainHolds(ctx)
}

// leases gives interrex.Leases.
func (s *Set) leases() dependency.Manifold {
	m := Gate(s.name(LeasesName), dependency.Manifold{
		Inputs: s.names(APIName, LeasesFeatureName),
		Start: func(ctx dependency.Context) (worker.Worker, error) {
			if err := ctx.Get(s.name(LeasesFeatureName), nil); err != nil {
				return nil, err
			}
			server, err := get[*api.Server](ctx, s.name(APIName))
			if err != nil {
				return nil, err
			}
			return s.startLeases(server)
		},
		Output: owned(giveOutput),
	})
	return m
}

func (s *Set) startLeases(server *api.Server) (worker.Worker, error) {
	pipe := newPipe()
	serving, err := s.serve("", pipe, server.Handler(), nil, nil)
	if err != nil {
		return nil, err
	}
	c, err := client.Dial(context.Background(), client.Config{
		Addresses: []string{"http://" + s.Present.ID()}, Dial: pipe.dial, Logger: s.logger("leases"),
		Renewed: s.metrics.renewed,
	})
	if err != nil {
		return nil, errors.Join(err, worker.Stop(serving))
	}
	mine := &ownClient{leases: c.Leases(), client: c}
	end := s.Present.set(func(p *parts) { p.client = mine }, func(p *parts) { p.client = nil })
	w := keep(func() error {
		end()
		return errors.Join(c.Close(), worker.Stop(serving))
	}, nil)
	return own(give(w, c.Leases()), patience, s.overstayed(LeasesName)), nil
}

// pipe is a net.Listener whose connections come from its own process.
type pipe struct {
	conns  chan net.Conn
	closed chan struct{}
	end    context.CancelFunc
}

func newPipe() *pipe {
	ctx, cancel := context.WithCancel(context.Background())
	p := &pipe{conns: make(chan net.Conn), closed: make(chan struct{}), end: cancel}
	context.AfterFunc(ctx, func() { close(p.closed) })
	return p
}

func (p *pipe) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case p.conns <- there:
		return here, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept implements net.Listener.
func (p *pipe) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (p *pipe) Close() error {
	p.end()
	return nil
}

// Addr implements net.Listener.
func (p *pipe) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "in process" }
