package manifolds

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/juju/clock"
	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"

	"github.com/interrex/interrex/api"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/raftworker/leadership"
	"github.com/interrex/interrex/transport"
)

// forwarder keeps one stream to the leader that requests are forwarded to, and
// one to the leader before it while that may still answer.
type forwarder struct {
	transport *transport.Transport
	logger    client.Logger
	clock     clock.Clock
	following sync.WaitGroup
	end       context.CancelFunc // of following

	mu      sync.Mutex
	closed  bool
	streams map[string]*client.Stream
}

// silence is how long a leader may be silent until it is asked whether it lives,
// and how long it has to answer.
const silence = 2 * time.Second

// farewell is how long an agent that no longer leads has to answer what it was
// asked. A leader that was paused never does: its silence must cost no lease
// that another leader could have extended.
const farewell = 250 * time.Millisecond

func (s *Set) forwarder() dependency.Manifold {
	return Gate(s.name(ForwarderName), dependency.Manifold{
		Inputs: s.names(ClockName, TransportName),
		Start: func(ctx dependency.Context) (worker.Worker, error) {
			now, err := get[clock.Clock](ctx, s.name(ClockName))
			if err != nil {
				return nil, err
			}
			t, err := get[*transport.Transport](ctx, s.name(TransportName))
			if err != nil {
				return nil, err
			}
			f := &forwarder{transport: t, logger: s.logger("forward"), clock: now, streams: map[string]*client.Stream{}}
			life, cancel := context.WithCancel(context.Background())
			f.end = cancel
			f.following.Go(func() { f.follow(life, s.Leadership.Watch()) })
			end := s.Present.set(func(p *parts) { p.forwarder = f }, func(p *parts) { p.forwarder = nil })
			return keep(func() error { end(); return f.close() }, nil), nil
		},
	}, s.name(TransportName))
}

// to gives the stream to an agent.
func (f *forwarder) to(id string) (api.Forwarder, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, errors.New("cannot forward: the transport stops")
	}
	if s := f.streams[id]; s != nil {
		return s, nil
	}
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true) // the transport's connection is TLS already
	s, err := client.NewStream(client.StreamConfig{
		HTTP: &http.Client{Transport: &http.Transport{
			Protocols: protocols,
			// A leader that is paused, or cut off, must not hold a write up for ever.
			HTTP2: &http.HTTP2Config{SendPingTimeout: silence, PingTimeout: silence, WriteByteTimeout: silence},
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return f.transport.DialAPI(ctx, id)
			},
		}},
		BaseURL: "http://" + id, Logger: f.logger,
	})
	if err != nil {
		return nil, fmt.Errorf("cannot forward to %s: %w", id, err)
	}
	f.streams[id] = s
	return s, nil
}

// follow leaves each agent that another one follows as leader. What it had not
// answered has an unknown outcome: its caller asks again, at the new leader.
func (f *forwarder) follow(ctx context.Context, watch *leadership.Watch) {
	for {
		l, err := watch.Next(ctx)
		if err != nil {
			return
		}
		if l.LeaderID == "" {
			continue // nobody else could answer
		}
		select {
		case <-f.clock.After(farewell):
		case <-ctx.Done():
			return
		}
		f.leaveOthers(l.LeaderID)
	}
}

func (f *forwarder) leaveOthers(leader string) {
	f.mu.Lock()
	var left []*client.Stream
	for id, s := range f.streams {
		if id != leader {
			left = append(left, s)
			delete(f.streams, id)
		}
	}
	f.mu.Unlock()
	for _, s := range left {
		if err := s.Close(); err != nil {
			f.logger.Debugf("a stream to a former leader: %v", err)
		}
	}
}

func (f *forwarder) close() error {
	f.end()
	f.following.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	var failed []error
	for _, s := range f.streams {
		failed = append(failed, s.Close())
	}
	return errors.Join(failed...)
}
