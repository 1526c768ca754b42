package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"
)

// acceptDelay is the pause after a failed accept, which is mostly a lack of
// file descriptors.
const acceptDelay = 50 * time.Millisecond

// acceptLoop takes connections until the listener is closed.
func (t *Transport) acceptLoop() {
	for {
		raw, err := t.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			t.refusals.note("accept", err, "cannot accept connections of other agents")
			if !t.pause(acceptDelay) {
				return
			}
			continue
		}
		t.admit(raw)
	}
}

// admit starts the goroutine of one connection, if there is room for it.
func (t *Transport) admit(raw net.Conn) {
	release, err := t.limits.admit(raw.RemoteAddr())
	if err != nil {
		t.refusals.note(hostOf(raw.RemoteAddr()), err, "refused a connection from %s", raw.RemoteAddr())
		_ = raw.Close()
		return
	}
	if !t.track(raw) {
		_ = raw.Close()
		release()
		return
	}
	done := func() {
		t.untrack(raw)
		release()
	}
	t.conns.Go(func() { t.receive(raw, done) })
}

// receive brings one connection from its first byte to whoever uses it. done
// is called when it is closed, by whomever.
func (t *Transport) receive(raw net.Conn, done func()) {
	tune(raw)
	_ = raw.SetDeadline(deadline())
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTimeout)
	defer cancel()

	c, in, err := t.handshake(ctx, raw, done)
	if err != nil {
		if !errors.Is(err, errMyself) {
			t.refusals.note(hostOf(raw.RemoteAddr()), err, "refused a connection from %s", raw.RemoteAddr())
		}
		_ = raw.Close()
		done()
		return
	}
	_ = c.SetDeadline(time.Time{})
	if in == nil { // only the hellos were wanted
		_ = c.Close()
		return
	}
	if err := in.deliver(ctx, c); err != nil {
		t.config.Logger.Debugf("%v", err)
	}
}

// handshake identifies the agent at the other end and exchanges hellos with it.
func (t *Transport) handshake(ctx context.Context, raw net.Conn, done func()) (*peerConn, *inlet, error) {
	config, err := serverTLS(t.config.TLS)
	if err != nil {
		return nil, nil, err
	}
	conn := tls.Server(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, nil, explainTLS(err)
	}
	state := conn.ConnectionState()
	id, err := IDOf(state.PeerCertificates[0])
	if err != nil {
		return nil, nil, err
	}
	forget, err := t.limits.admitPeer(id)
	if err != nil {
		return nil, nil, fmt.Errorf("of %s: %w", id, err)
	}
	in, peer, err := t.greet(conn, id, state.NegotiatedProtocol)
	if err != nil {
		forget()
		return nil, nil, fmt.Errorf("of %s: %w", id, err)
	}
	note, life := t.contacts.of(id), ""
	if state.NegotiatedProtocol == protocolRaft {
		life = peer.Log.Life
	}
	return &peerConn{
		Conn: conn, peer: id, hear: func() { t.hear(note) }, release: func() { forget(); done() },
		current: func(n int, err error) (int, error) { return t.memory.current(id, life, n, err) },
	}, in, nil
}

// greet is the accepting end of the hellos. It gives the inlet that the
// connection is for, nil when the hellos were all, and who dials.
func (t *Transport) greet(conn *tls.Conn, id, protocol string) (*inlet, Hello, error) {
	theirs, err := readHello(conn)
	if err != nil {
		return nil, Hello{}, err
	}
	met := seenAt(conn.RemoteAddr(), *theirs.Hello)
	peer := met.hello()
	in, reason := t.decide(id, peer, protocol)
	self := t.self()
	answer := greeting{Hello: &self}
	if reason == nil {
		answer.You, reason = t.memory.compare(peer)
	}
	if reason != nil {
		answer.Refused, answer.NotNow = reason.Error(), errors.Is(reason, errNotNow)
	}
	if err := writeGreeting(conn, answer); err != nil || reason != nil {
		return nil, peer, errors.Join(reason, err)
	}
	verdict, err := readGreeting(conn)
	if err != nil {
		return nil, peer, err
	}
	if verdict.Refused != "" {
		t.heed(peer, nil, verdict)
		return nil, peer, fmt.Errorf("it refuses us: %s", verdict.Refused)
	}
	return in, peer, t.learn(met, verdict.You)
}

func (t *Transport) decide(id string, peer Hello, protocol string) (*inlet, error) {
	if err := t.check(id, peer); err != nil {
		return nil, err
	}
	return t.inletOf(protocol)
}

// inletOf finds who takes connections of a protocol.
func (t *Transport) inletOf(protocol string) (*inlet, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch protocol {
	case protocolHello:
		return nil, nil
	case protocolRaft:
		if t.raft != nil && !t.raft.stream.isClosed() {
			return t.raft.stream.inlet, nil
		}
		return nil, fmt.Errorf("raft is not running on %s %w", t.config.ID, errNotNow)
	case protocolAPI:
		if t.api != nil && !t.api.isClosed() {
			return t.api, nil
		}
		return nil, fmt.Errorf("%s does not serve forwarded requests %w", t.config.ID, errNotNow)
	}
	return nil, fmt.Errorf("it names no protocol by ALPN: want %s, %s or %s", protocolRaft, protocolAPI, protocolHello)
}

// explainTLS puts what an operator can do behind the terse words of TLS.
func explainTLS(err error) error {
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &record):
		return fmt.Errorf("it does not speak TLS: %w", err)
	default:
		return fmt.Errorf("its certificate does not pass or its TLS does not fit: %w", err)
	}
}
