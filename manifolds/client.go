package manifolds

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"
	"golang.org/x/sys/unix"

	"github.com/interrex/interrex/api"
	"github.com/interrex/interrex/client"
)

// ownClient is the agent's own client of its API: the same code, retries and
// request ids as everybody's, over connections that never leave the process.
type ownClient struct {
	*client.Client
	close func() error // once, however often it is called
}

// releaseTimeout bounds how long a drain waits for work that runs under leases
// to stop.
const releaseTimeout = 10 * time.Second

// drain ends what is held, waits until the holders have released it, and gives
// back the names of the client's requests while the API still answers.
func (c *ownClient) drain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, releaseTimeout)
	defer cancel()
	return errors.Join(c.DrainHolds(ctx), c.close())
}

// client outputs a *client.Client. It stops before the API and raft do, since
// the leases that are held through it are released last of all.
func (s *Set) client() dependency.Manifold {
	return Gate(s.name(ClientName), dependency.Manifold{
		Inputs: s.names(APIName),
		Start: func(ctx dependency.Context) (worker.Worker, error) {
			server, err := get[*api.Server](ctx, s.name(APIName))
			if err != nil {
				return nil, err
			}
			return s.startClient(server)
		},
		Output: owned(giveOutput),
	}, s.name(APIName))
}

func (s *Set) startClient(server *api.Server) (worker.Worker, error) {
	pipe := newPipe()
	serving, err := s.serve("", pipe, server.Handler(), nil, nil)
	if err != nil {
		return nil, err
	}
	c, err := client.Dial(context.Background(), client.Config{
		Addresses: []string{"http://" + s.Present.ID()}, Dial: pipe.dial, Logger: s.logger("client"),
		Overstayed: s.metrics.overstayed.Inc,
	})
	if err != nil {
		return nil, errors.Join(err, worker.Stop(serving))
	}
	mine := &ownClient{Client: c, close: sync.OnceValue(c.Close)}
	end := s.Present.set(func(p *parts) { p.client = mine }, func(p *parts) { p.client = nil })
	closed := make(chan struct{})
	var visiting sync.WaitGroup
	w := keep(func() error {
		end()
		err := errors.Join(mine.close(), worker.Stop(serving))
		close(closed)
		visiting.Wait()
		return err
	}, nil)
	o := own(give(w, c), patience, s.overstayed(ClientName))
	visiting.Go(func() { s.visitRaft(o.tomb.Dying(), closed) })
	return o, nil
}

// leases outputs interrex.Leases while they are switched on.
func (s *Set) leases() dependency.Manifold {
	return Gate(s.name(LeasesName), dependency.Manifold{
		Inputs: s.names(ClientName, LeasesFeatureName),
		Start: func(ctx dependency.Context) (worker.Worker, error) {
			if err := ctx.Get(s.name(LeasesFeatureName), nil); err != nil {
				return nil, err
			}
			c, err := get[*client.Client](ctx, s.name(ClientName))
			if err != nil {
				return nil, err
			}
			return own(give(keep(nil, nil), c.Leases()), patience, s.overstayed(LeasesName)), nil
		},
		Output: owned(giveOutput),
	}, s.name(ClientName))
}

// moment is how far apart workers may be killed that are killed together.
const moment = 50 * time.Millisecond

// visitRaft keeps raft from stopping before the client's leases are released,
// when everything stops at once: the engine kills all workers in the same
// moment. It is a visit and not an input, since the client goes on when only
// raft restarts; then it leaves at once.
func (s *Set) visitRaft(dying, closed <-chan struct{}) {
	for {
		visit, changed := s.Present.enterRaft(s.name(ClientName))
		if visit != nil {
			select {
			case <-closed:
			case <-visit.Stopping():
				select {
				case <-dying:
					<-closed
				case <-s.config.Agent.Clock.After(moment):
				}
			}
			visit.Leave()
		}
		select {
		case <-closed:
			return
		case <-changed:
		}
	}
}

// pipe is a net.Listener whose connections come from its own process. They are
// pairs of sockets: HTTP/2 needs a connection that has buffers.
type pipe struct {
	conns  chan net.Conn
	closed chan struct{}
	close  func()
}

func newPipe() *pipe {
	p := &pipe{conns: make(chan net.Conn), closed: make(chan struct{})}
	p.close = sync.OnceFunc(func() { close(p.closed) })
	return p
}

func (p *pipe) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there, err := socketPair()
	if err != nil {
		return nil, err
	}
	select {
	case p.conns <- there:
		return here, nil
	case <-p.closed:
		err = net.ErrClosed
	case <-ctx.Done():
		err = ctx.Err()
	}
	return nil, errors.Join(err, here.Close(), there.Close())
}

func socketPair() (here, there net.Conn, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot make a pair of sockets: %w", err)
	}
	var conns [2]net.Conn
	var failed [2]error
	for i, fd := range fds {
		file := os.NewFile(uintptr(fd), "pair")
		conns[i], failed[i] = net.FileConn(file) // a copy of its own
		_ = file.Close()
	}
	return conns[0], conns[1], errors.Join(failed[:]...)
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
	p.close()
	return nil
}

// Addr implements net.Listener.
func (p *pipe) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "in process" }
