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

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/api"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/backoff"
	"github.com/interrex/interrex/raftworker/leadership"
	"github.com/interrex/interrex/transport"
)

// forwarder keeps the connection to the current leader, to which requests are
// forwarded, and the one to the leader before it while that may still answer.
type forwarder struct {
	transport *transport.Transport
	logger    interrex.Logger
	clock     clock.Clock
	following sync.WaitGroup
	end       context.CancelFunc // of following

	mu      sync.Mutex
	closed  bool
	streams map[string]way
}

// way has the streams to one agent. Claims that wait have a stream of their
// own: each is open for up to an hour, and together they would leave no room
// for anything else.
type way struct{ others, waits *line }

// line is a stream with the connection that it runs over.
type line struct {
	*client.Stream
	connection *http.Transport
}

// Close closes the stream, and then its connection.
func (l *line) Close() error {
	err := l.Stream.Close()
	l.connection.CloseIdleConnections()
	return err
}

// Send implements api.Forwarder.
func (w way) Send(ops []*interrexv1.Operation, done func(i int, body []byte, err error)) (abandon func(i int)) {
	var others, waits part
	at := make([]struct {
		of    *part
		place int
	}, len(ops))
	for i, op := range ops {
		at[i].of = &others
		if op.GetWaitMs() > 0 {
			at[i].of = &waits
		}
		at[i].place = at[i].of.add(i, op)
	}
	others.send(w.others, done)
	waits.send(w.waits, done)
	return func(i int) { at[i].of.abandon(at[i].place) }
}

// Close closes both streams.
func (w way) Close() error { return errors.Join(w.others.Close(), w.waits.Close()) }

// part has the operations that go by one stream.
type part struct {
	ops     []*interrexv1.Operation
	among   []int // their indexes among all
	abandon func(place int)
}

func (p *part) add(i int, op *interrexv1.Operation) (place int) {
	p.ops, p.among = append(p.ops, op), append(p.among, i)
	return len(p.ops) - 1
}

func (p *part) send(by *line, done func(i int, body []byte, err error)) {
	if len(p.ops) > 0 {
		p.abandon = by.Send(p.ops, func(place int, body []byte, err error) { done(p.among[place], body, err) })
	}
}

// silence is how long a leader may be silent until it is asked whether it lives,
// and how long it has to answer.
const silence = 2 * time.Second

// farewell is how long an agent that no longer leads has to answer what it was
// asked. A leader that was paused never does: its silence must cost no lease
// that another leader could have extended.
const farewell = 250 * time.Millisecond

// waitersFarewell is the same for claims that wait, which are in no hurry: an agent
// that answers late would leave them with an unknown outcome.
const waitersFarewell = 5 * time.Second

func (s *Set) startForwarder(u *unit) (worker.Worker, error) {
	now, t := need[clock.Clock](u, ClockName), need[*transport.Transport](u, TransportName)
	slot := need[offerer[*forwarder]](u, ForwarderSlotName)
	if u.err != nil {
		return nil, u.err
	}
	f := &forwarder{transport: t, logger: s.logger("forward"), clock: now, streams: map[string]way{}}
	life, cancel := context.WithCancel(context.Background())
	f.end = cancel
	f.following.Go(func() { f.follow(life, s.Leadership.Watch()) })
	u.free(f.close)
	slot.offer(u, f)
	return nil, nil
}

// to returns the stream to an agent.
func (f *forwarder) to(id string) (api.Forwarder, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, errors.New("cannot forward: the transport stops")
	}
	if w, found := f.streams[id]; found {
		return w, nil
	}
	var w way
	var err error
	if w.others, err = f.stream(id); err != nil {
		return nil, fmt.Errorf("cannot forward to %s: %w", id, err)
	}
	if w.waits, err = f.stream(id); err != nil {
		return nil, fmt.Errorf("cannot forward to %s: %w", id, errors.Join(err, w.others.Close()))
	}
	f.streams[id] = w
	return w, nil
}

// stream makes one stream to an agent. It connects when it is used.
func (f *forwarder) stream(id string) (*line, error) {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true) // the transport's connection is TLS already
	connection := &http.Transport{
		Protocols: protocols,
		// A leader that is paused, or cut off, must not hold a write up for ever.
		HTTP2: &http.HTTP2Config{SendPingTimeout: silence, PingTimeout: silence, WriteByteTimeout: silence},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return f.transport.DialAPI(ctx, id)
		},
	}
	s, err := client.NewStream(client.StreamConfig{
		HTTP: &http.Client{Transport: connection}, BaseURL: "http://" + id, Logger: f.logger,
	})
	return &line{s, connection}, err
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
		if !backoff.Pause(ctx, f.clock.After(farewell)) {
			return
		}
		f.leaveOthers(ctx, l.LeaderID)
	}
}

func (f *forwarder) leaveOthers(ctx context.Context, leader string) {
	f.mu.Lock()
	var left []way
	for id, s := range f.streams {
		if id != leader {
			left = append(left, s)
			delete(f.streams, id)
		}
	}
	f.mu.Unlock()
	for _, s := range left {
		f.leave(s.others)
		f.following.Go(func() {
			backoff.Pause(ctx, f.clock.After(waitersFarewell))
			f.leave(s.waits)
		})
	}
}

func (f *forwarder) leave(l *line) {
	if err := l.Close(); err != nil {
		f.logger.Debugf("a stream to a former leader: %v", err)
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
