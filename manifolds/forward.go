package manifolds

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"

	"github.com/interrex/interrex/api"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/transport"
)

// forwarder keeps one stream to each agent that requests were forwarded to:
// as many as have led.
type forwarder struct {
	transport *transport.Transport
	logger    client.Logger

	mu      sync.Mutex
	closed  bool
	streams map[string]*client.Stream
}

// silence is how long a leader may be silent until it is asked whether it lives,
// and how long it has to answer.
const silence = 2 * time.Second

func (s *Set) forwarder() dependency.Manifold {
	return Gate(s.name(ForwarderName), dependency.Manifold{
		Inputs: s.names(TransportName),
		Start: func(ctx dependency.Context) (worker.Worker, error) {
			t, err := get[*transport.Transport](ctx, s.name(TransportName))
			if err != nil {
				return nil, err
			}
			f := &forwarder{transport: t, logger: s.logger("forward"), streams: map[string]*client.Stream{}}
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

func (f *forwarder) close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	var failed []error
	for _, s := range f.streams {
		failed = append(failed, s.Close())
	}
	return errors.Join(failed...)
}
