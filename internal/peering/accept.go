package peering

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/interrex/interrex/internal/certificates"
	"github.com/interrex/interrex/internal/inbound"
)

// acceptDelay is the pause after a failed accept, usually for lack of file
// descriptors.
const acceptDelay = 50 * time.Millisecond

// acceptLoop takes connections until the listener is closed.
func (t *Transport) acceptLoop() {
	for {
		raw, err := t.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			t.refusals.Note("accept", err, "cannot accept connections of other agents")
			if !t.pause(acceptDelay) {
				return
			}
			continue
		}
		t.admit(raw)
	}
}

// admit starts the goroutine of one connection.
func (t *Transport) admit(raw net.Conn) {
	if !t.track(raw) {
		_ = raw.Close()
		return
	}
	p, lost := t.limits.Admit(raw, t.book.metAt(inbound.HostOf(raw.RemoteAddr())))
	if lost != nil {
		t.refusals.Note("handshakes", errCrowd, "closed the oldest connection from %s", lost.Host)
	}
	t.conns.Go(func() { t.receive(p) })
}

// errCrowd is the reason for closing a connection whose handshake has not ended.
var errCrowd = fmt.Errorf("%d connections are in their handshake, which is the limit", inbound.MaxHandshakes)

// errForwarding is the reason for closing a connection of an agent without raft.
var errForwarding = fmt.Errorf("%d connections of agents without raft are open, which is the limit, and it has most", inbound.MaxForwarding)

// receive takes one connection from its first byte to its inlet.
func (t *Transport) receive(p *inbound.Place) {
	inbound.Tune(p.Conn)
	_ = p.Conn.SetDeadline(deadline())
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTimeout)
	defer cancel()

	c, in, err := t.handshake(ctx, p)
	if err != nil {
		if !errors.Is(err, errMyself) {
			t.refusals.Note(p.Host, err, "connection from %s failed", p.Conn.RemoteAddr())
		}
		_ = p.Conn.Close()
		t.leave(p)
		return
	}
	_ = c.SetDeadline(time.Time{})
	if in == nil { // it was only for the hellos
		_ = c.Close()
		return
	}
	if err := in.Deliver(ctx, c); err != nil {
		t.config.Logger.Debugf("%v", err)
	}
}

// leave forgets a connection that is closed.
func (t *Transport) leave(p *inbound.Place) {
	t.untrack(p.Conn)
	t.limits.Leave(p)
}

// handshake identifies the agent at the other end and exchanges hellos with it.
func (t *Transport) handshake(ctx context.Context, p *inbound.Place) (*inbound.Conn, *inbound.Inlet, error) {
	config, err := certificates.Server(t.config.TLS, protocolRaft, protocolAPI, protocolHello, ForwardProtocol)
	if err != nil {
		return nil, nil, err
	}
	config.GetConfigForClient = t.joins
	conn := tls.Server(p.Conn, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, nil, explainTLS(err)
	}
	state := conn.ConnectionState()
	if state.NegotiatedProtocol == protocolJoin {
		return t.takeJoiner(p, conn)
	}
	id, err := certificates.IDOf(state.PeerCertificates[0])
	if err != nil {
		return nil, nil, err
	}
	if state.NegotiatedProtocol == ForwardProtocol {
		return t.takeForwarder(p, conn, id)
	}
	c := &caller{Conn: conn, place: p, id: id, protocol: state.NegotiatedProtocol}
	in, peer, err := t.greet(c)
	if err != nil {
		return nil, nil, fmt.Errorf("of %s: %w", id, err)
	}
	if in == nil { // only for the hellos
		return &inbound.Conn{Conn: conn, Release: func() { t.leave(p) }}, nil, nil
	}
	note := t.contacts.of(id)
	tie, absent := t.enter(peer, p.Conn)
	return &inbound.Conn{
		Conn: conn, Peer: id, Hear: func() { t.noteRead(note); t.noteRead(&tie.heard) }, Release: func() { absent(); t.leave(p) },
		Current: t.currentFor(peer, c.protocol),
	}, in, nil
}

// joins returns the TLS configuration for an agent that joins; nil: it is another.
func (t *Transport) joins(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	if t.config.Authorities == nil || !slices.Equal(hello.SupportedProtos, []string{protocolJoin}) {
		return nil, nil
	}
	authorities := t.config.Authorities()
	if len(authorities) == 0 {
		return nil, errors.New("an agent asks to join, and this cluster has no CA of its own, or is not founded yet")
	}
	return certificates.Joining(t.config.TLS, protocolJoin, authorities)
}

// takeJoiner returns the connection of an agent that joins, which is held to the same
// limits of time as a handshake until its listener sets others.
func (t *Transport) takeJoiner(p *inbound.Place, conn *tls.Conn) (*inbound.Conn, *inbound.Inlet, error) {
	t.mu.Lock()
	in := t.join
	t.mu.Unlock()
	if in == nil || in.IsClosed() {
		return nil, nil, fmt.Errorf("%s lets no agents join %w", t.config.ID, ErrNotNow)
	}
	return t.unmet(p, conn, "an agent that joins"), in, nil
}

// takeForwarder returns the connection of an agent without raft.
func (t *Transport) takeForwarder(p *inbound.Place, conn *tls.Conn, id string) (*inbound.Conn, *inbound.Inlet, error) {
	t.mu.Lock()
	in := t.forward
	t.mu.Unlock()
	if in == nil || in.IsClosed() {
		return nil, nil, fmt.Errorf("%s takes no requests of %s %w", t.config.ID, id, ErrNotNow)
	}
	lost, err := t.limits.LetForward(p, id)
	if err != nil {
		return nil, nil, err
	}
	if lost != nil {
		t.refusals.Note("forwarding", errForwarding, "closed the oldest connection of %s", lost.Peer())
	}
	return t.unmet(p, conn, id), in, nil
}

// unmet returns the connection of an agent that is not among those that were met.
func (t *Transport) unmet(p *inbound.Place, conn *tls.Conn, peer string) *inbound.Conn {
	return &inbound.Conn{
		Conn: conn, Peer: peer, Hear: func() {}, Release: func() { t.leave(p) },
		Current: func(n int, err error) (int, error) { return n, err },
	}
}

// caller is an agent that has dialled, with the ID in its certificate.
type caller struct {
	*tls.Conn
	place        *inbound.Place
	id, protocol string
}

// openPeriod is the longest time for which a stream is read after its agent's
// membership has ended.
const openPeriod = 100 * time.Millisecond

// currentFor returns a check of each read from an agent's stream. A stream ends
// with that agent's membership, and one of raft's with the life of raft at either
// end.
func (t *Transport) currentFor(peer Hello, protocol string) func(int, error) (int, error) {
	var looked time.Time
	return func(n int, err error) (int, error) {
		if now := t.config.Clock.Now(); n > 0 && now.Sub(looked) >= openPeriod {
			if reason := t.openFor(protocol, peer); reason != nil {
				return 0, reason
			}
			looked = now
		}
		if protocol == protocolAPI {
			return n, err
		}
		return t.memory.Current(peer.ID, peer.Log.Life, n, err)
	}
}

// greet exchanges hellos at the accepting end. It returns the inlet that the
// connection is for, nil when it is only for the hellos, and the dialler's hello.
func (t *Transport) greet(c *caller) (*inbound.Inlet, Hello, error) {
	theirs, err := readHello(c)
	if err != nil {
		return nil, Hello{}, err
	}
	met := seenAt(c.RemoteAddr(), *theirs.Hello)
	peer := met.hello()
	in, reason := t.decide(c, peer)
	self := t.Self()
	answer := greeting{Hello: &self}
	if reason == nil {
		answer.You, reason = t.recall(peer)
	}
	if reason != nil {
		answer.refuse(reason)
		t.forgetRemoved(peer, reason)
	}
	if err := writeGreeting(c, answer); err != nil || reason != nil {
		return nil, peer, errors.Join(reason, err)
	}
	verdict, err := readGreeting(c)
	if err != nil {
		return nil, peer, err
	}
	if verdict.Refused != "" {
		t.learnFromRefusal(peer, nil, verdict)
		t.learnRemoval(peer, verdict)
		return nil, peer, fmt.Errorf("it refuses us: %s", verdict.Refused)
	}
	return in, peer, t.learn(met, verdict.You, c.protocol)
}

func (t *Transport) decide(c *caller, peer Hello) (*inbound.Inlet, error) {
	if err := t.check(c.id, peer); err != nil {
		return nil, err
	}
	if err := t.limits.LetIn(c.place, c.id); err != nil {
		return nil, err
	}
	in, err := t.inletOf(c.protocol)
	if err == nil && in != nil {
		err = t.openFor(c.protocol, peer)
	}
	if err == nil && c.protocol == protocolRaft {
		err = t.named(t.life(), peer)
	}
	return in, err
}

// inletOf returns the inlet for connections of a protocol.
func (t *Transport) inletOf(protocol string) (*inbound.Inlet, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch protocol {
	case protocolHello:
		return nil, nil
	case protocolRaft:
		if !t.raft.over() {
			return t.raft.in, nil
		}
		return nil, fmt.Errorf("raft is not running on %s %w", t.config.ID, ErrNotNow)
	case protocolAPI:
		if t.api != nil && !t.api.IsClosed() {
			return t.api, nil
		}
		return nil, fmt.Errorf("%s does not serve forwarded requests %w", t.config.ID, ErrNotNow)
	}
	return nil, fmt.Errorf("it names no known protocol by ALPN: use %s, %s or %s", protocolRaft, protocolAPI, protocolHello)
}

// explainTLS wraps an error of TLS in what it means for an operator.
func explainTLS(err error) error {
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &record):
		return fmt.Errorf("it does not use TLS: %w", err)
	default:
		return fmt.Errorf("its certificate or TLS version is not accepted: %w%s", err, ofAnotherCA(err))
	}
}
