// Package forward owns the streams on which requests are forwarded to the agent that
// leads.
package forward

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/juju/clock"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/backoff"
	"github.com/interrex/interrex/internal/callstream"
	"github.com/interrex/interrex/internal/peering"
)

// Forwarder keeps the connection to the current leader, to which requests are
// forwarded, and the one to the leader before it while that may still answer.
type Forwarder struct {
	transport *peering.Transport
	logger    interrex.Logger
	clock     clock.Clock
	following sync.WaitGroup
	end       context.CancelFunc // of following

	mu      sync.Mutex
	closed  bool
	streams map[string]Way
}

// Way has the streams to one agent, each over its own connection. Claims that wait have
// one of their own: each is open for up to an hour, and together they would leave no room
// for anything else. Large operations have one, so that an extend is not sent after
// hundreds of them, when its lease may have ended.
type Way struct{ others, large, waits *line }

// large is the size of an operation's body, in bytes, beyond which it is sent as a large
// one.
const large = 32 << 10

// Send implements operations.Forwarder.
func (w Way) Send(ops []*interrexv1.Operation, done func(i int, body []byte, err error)) (abandon func(i int)) {
	others, big, waits := part{by: w.others, done: done}, part{by: w.large, done: done}, part{by: w.waits, done: done}
	at := make([]struct {
		of    *part
		place int
	}, len(ops))
	for i, op := range ops {
		at[i].of = &others
		if len(op.GetBody()) > large {
			at[i].of = &big
		}
		if op.GetWaitMs() > 0 {
			at[i].of = &waits
		}
		at[i].place = at[i].of.add(i, op)
	}
	others.send()
	big.send()
	waits.send()
	return func(i int) { at[i].of.abandon(at[i].place) }
}

// Close closes the streams.
func (w Way) Close() error { return errors.Join(w.others.Close(), w.large.Close(), w.waits.Close()) }

// part has the operations that go over one stream.
type part struct {
	by      *line
	done    func(i int, body []byte, err error)
	ops     []*interrexv1.Operation
	among   []int // their indexes among all
	refused []refusal
	gone    func(place int)
}

// refusal is of an operation, by its index among all, for which there is no room.
type refusal struct {
	i   int
	err error
}

// add adds an operation, and returns its place; -1: there is no room for it.
func (p *part) add(i int, op *interrexv1.Operation) (place int) {
	if err := p.by.room.enter(shareOf(op)); err != nil {
		p.refused = append(p.refused, refusal{i, err})
		return -1
	}
	p.ops, p.among = append(p.ops, op), append(p.among, i)
	return len(p.ops) - 1
}

func (p *part) send() {
	for _, r := range p.refused {
		p.done(r.i, nil, r.err)
	}
	if len(p.ops) == 0 {
		return
	}
	shares := make([]string, len(p.ops)) // the stream keeps no operation that is answered
	for place, op := range p.ops {
		shares[place] = shareOf(op)
	}
	p.gone = p.by.Send(p.ops, func(place int, body []byte, err error) {
		p.by.room.leave(shares[place])
		p.done(p.among[place], body, err)
	})
}

// abandon ends the wait for the answer to the operation at a place.
func (p *part) abandon(place int) {
	if place >= 0 {
		p.gone(place)
	}
}

// silence is how long a leader may be silent before it is pinged, and how long it has
// to answer.
const silence = 2 * time.Second

// farewell is how long an agent that no longer leads has to answer its open requests.
// A leader that was paused never does: its silence must not cost a lease that another
// leader could have extended.
const farewell = 250 * time.Millisecond

// waitersFarewell is the same for claims that wait, which can wait longer: closed too
// early, they would have an unknown outcome.
const waitersFarewell = 5 * time.Second

// New returns a forwarder that follows the leader: next returns the present leadership
// at its first call, and waits for a change at every later one.
func New(t *peering.Transport, c clock.Clock, l interrex.Logger, next func(context.Context) (interrex.Leadership, error)) *Forwarder {
	life, cancel := context.WithCancel(context.Background())
	f := &Forwarder{transport: t, logger: l, clock: c, streams: map[string]Way{}, end: cancel}
	f.following.Go(func() { f.follow(life, next) })
	return f
}

// To returns the streams to an agent.
func (f *Forwarder) To(id string) (Way, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return Way{}, errors.New("cannot forward: the transport is stopping")
	}
	if w, found := f.streams[id]; found {
		return w, nil
	}
	var made [3]*line
	for i := range made {
		var err error
		if made[i], err = f.stream(id); err == nil {
			continue
		}
		for _, l := range made[:i] {
			err = errors.Join(err, l.Close())
		}
		return Way{}, fmt.Errorf("cannot forward to %s: %w", id, err)
	}
	w := Way{others: made[0], large: made[1], waits: made[2]}
	f.streams[id] = w
	return w, nil
}

// stream makes one stream to an agent. It connects when it is used.
func (f *Forwarder) stream(id string) (*line, error) {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true) // the transport's connection is TLS already
	connection := &http.Transport{
		Protocols: protocols,
		// A leader that is paused, or cut off, must not block a write for ever.
		HTTP2: &http.HTTP2Config{SendPingTimeout: silence, PingTimeout: silence, WriteByteTimeout: silence},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return f.transport.DialAPI(ctx, id)
		},
	}
	s, err := callstream.New(callstream.Config{
		HTTP: &http.Client{Transport: connection}, BaseURL: "http://" + id, Logger: f.logger, MaxOpen: maxOpen,
	})
	return &line{Stream: s, connection: connection, room: room{most: maxOpen, what: "operations at the leader"}}, err
}

// follow closes the streams to each agent that another one has followed as leader.
// Requests that it had not answered have an unknown outcome: their callers retry them
// at the new leader.
func (f *Forwarder) follow(ctx context.Context, next func(context.Context) (interrex.Leadership, error)) {
	for {
		l, err := next(ctx)
		if err != nil {
			return
		}
		if l.LeaderID == "" {
			continue // no other agent could answer
		}
		if !backoff.Pause(ctx, f.clock.After(farewell)) {
			return
		}
		f.leaveOthers(ctx, l.LeaderID)
	}
}

func (f *Forwarder) leaveOthers(ctx context.Context, leader string) {
	f.mu.Lock()
	var left []Way
	for id, s := range f.streams {
		if id != leader {
			left = append(left, s)
			delete(f.streams, id)
		}
	}
	f.mu.Unlock()
	for _, s := range left {
		f.leave(s.others)
		f.leave(s.large)
		f.following.Go(func() {
			backoff.Pause(ctx, f.clock.After(waitersFarewell))
			f.leave(s.waits)
		})
	}
}

func (f *Forwarder) leave(l *line) {
	if err := l.Close(); err != nil {
		f.logger.Debugf("a stream to a former leader: %v", err)
	}
}

// Close ends the streams.
func (f *Forwarder) Close() error {
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
