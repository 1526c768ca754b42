package peering

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/certificates"
	"github.com/interrex/interrex/internal/inbound"
)

// errAlone is returned by the dials of an agent without certificates.
var errAlone = errors.New("this agent has no peers: it has no certificates for other agents")

// DialAPI connects to an agent for forwarded requests. The connection does TLS
// itself; its user speaks HTTP/2 with prior knowledge. DialAPI takes at most 5 s, or
// until ctx ends.
func (t *Transport) DialAPI(ctx context.Context, id string) (net.Conn, error) {
	return t.dial(ctx, id, protocolAPI)
}

// dial connects to an agent by its ID, at its present address.
func (t *Transport) dial(ctx context.Context, id, protocol string) (net.Conn, error) {
	address := t.book.address(id)
	if address == "" {
		return nil, fmt.Errorf("cannot reach %s: its address is not known; it has not been met at any address of cluster.join", id)
	}
	conn, _, err := t.dialAt(ctx, address, id, protocol)
	if err != nil {
		return nil, fmt.Errorf("cannot reach %s at %s: %w", id, address, err)
	}
	return conn, nil
}

// dialAt connects to an address and exchanges hellos. An empty id accepts any
// agent.
func (t *Transport) dialAt(ctx context.Context, address, id, protocol string) (net.Conn, Hello, error) {
	if t.config.TLS == nil {
		return nil, Hello{}, errAlone
	}
	ctx, cancel := t.bounded(ctx)
	defer cancel()
	raw, err := t.config.Dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		t.book.dialFailed(address)
		return nil, Hello{}, err
	}
	inbound.Tune(raw)
	// The end of ctx interrupts the handshake and the hellos.
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	conn, peer, err := t.introduce(ctx, raw, dialling{address, id, protocol})
	if err == nil && !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		stop()
		_ = raw.Close()
		t.noteRefusal(id, address, err)
		return nil, Hello{}, err
	}
	t.book.noteReached(address, peer.ID)
	_ = conn.SetDeadline(time.Time{})
	c := &dialledConn{Conn: conn, transport: t, last: t.contacts.of(peer.ID)}
	c.tie, c.absent = t.enter(peer, raw)
	if protocol == protocolRaft {
		c.peer, c.life = peer.ID, peer.Log.Life
	}
	return c, peer, nil
}

// bounded returns a context that ends with ctx, with the transport, or after 5 s.
func (t *Transport) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	stop := context.AfterFunc(t.ctx, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}

// refusedError is the text of a refusal, a peer's or ours.
type refusedError struct {
	reason  string
	ours    bool
	removed bool // ours, because the peer was removed from the cluster
}

func (e *refusedError) Error() string { return e.reason }

// ours reports whether an error is this agent's own refusal.
func ours(err error) bool {
	var refused *refusedError
	return errors.As(err, &refused) && refused.ours
}

// noteRefusal logs a refusal because of the hellos or the certificates. An agent
// that is merely unreachable is logged by the caller.
func (t *Transport) noteRefusal(id, address string, err error) {
	var refused *refusedError
	if errors.As(err, &refused) {
		t.refusals.Note(id+address, err, "cannot talk to %s at %s", orUnknown(id), address)
	}
}

func orUnknown(id string) string {
	if id == "" {
		return "the agent"
	}
	return id
}

// dialling is the agent that a dial is for. An empty id accepts any agent.
type dialling struct{ address, id, protocol string }

// introduce does the handshake at the dialling end.
func (t *Transport) introduce(ctx context.Context, raw net.Conn, to dialling) (*tls.Conn, Hello, error) {
	config, err := certificates.Client(t.config.TLS, to.id, to.protocol)
	if err != nil {
		return nil, Hello{}, err
	}
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		if err = refusedTLS(err); ours(err) {
			t.book.dialFailed(to.address) // another agent is there
		}
		return nil, Hello{}, err
	}
	state := conn.ConnectionState()
	certID, err := certificates.IDOf(state.PeerCertificates[0])
	if err != nil {
		return nil, Hello{}, &refusedError{reason: err.Error(), ours: true}
	}
	self := t.Self()
	if err := writeGreeting(conn, greeting{Hello: &self}); err != nil {
		return nil, Hello{}, err
	}
	theirs, err := readHello(conn)
	if err != nil {
		return nil, Hello{}, refusedTLS(err)
	}
	met := dialledAt(to.address, raw.RemoteAddr(), *theirs.Hello)
	if err := t.conclude(conn, certID, met, theirs, to.protocol); err != nil {
		return nil, Hello{}, err
	}
	return conn, met.hello(), nil
}

// conclude sends our verdict to the other end, unless it has refused already.
func (t *Transport) conclude(conn net.Conn, certID string, met meeting, theirs greeting, protocol string) error {
	peer := met.hello()
	reason := t.check(certID, peer)
	if errors.Is(reason, errMyself) {
		return reason
	}
	if theirs.Refused != "" {
		t.learnFromRefusal(peer, reason, theirs)
		if peer.ID == certID {
			t.learnRemoval(peer, theirs)
		}
		refused := fmt.Errorf("it refuses us: %s", theirs.Refused)
		if theirs.NotNow {
			return refused // as if it were unreachable
		}
		return &refusedError{reason: refused.Error()}
	}
	var verdict greeting
	if reason == nil {
		verdict.You, reason = t.recall(peer)
	}
	if reason != nil {
		verdict.refuse(reason)
		t.forgetRemoved(peer, reason)
	}
	if err := writeGreeting(conn, verdict); err != nil {
		return err
	}
	if reason != nil {
		return &refusedError{"we refuse it: " + reason.Error(), true, verdict.Removed}
	}
	return t.learn(met, theirs.You, protocol)
}

// learnFromRefusal passes to raft's life what an agent that refuses this one remembers of it,
// if this agent accepts that one.
func (t *Transport) learnFromRefusal(peer Hello, reason error, theirs greeting) {
	if l := t.life(); l != nil && reason == nil && theirs.You != nil && l.OpenTo(peer) == nil {
		_ = l.Met(peer, theirs.You) // the refusal takes precedence
	}
}

// learnRemoval passes on that a peer, whose certificate is for the ID in its hello,
// refuses this agent because it was removed.
func (t *Transport) learnRemoval(peer Hello, theirs greeting) {
	if theirs.Removed && t.config.OnRemoved != nil {
		t.config.OnRemoved(peer, theirs.Refused)
	}
}

// forgetRemoved forgets where an agent is that is refused because it was removed.
func (t *Transport) forgetRemoved(peer Hello, reason error) {
	if errors.Is(reason, interrex.ErrRemoved) {
		t.book.forget(peer.ID, peer.Incarnation)
		if is, _ := t.memory.Of(peer.ID); is.Incarnation == peer.Incarnation {
			t.memory.MeetAt(peer.ID, "")
		}
	}
}

// ofAnotherCA says what to do about a certificate of a CA that is not trusted; empty: the
// error is another one.
func ofAnotherCA(err error) string {
	var unknown x509.UnknownAuthorityError
	if !errors.As(err, &unknown) {
		return ""
	}
	return ": the two trust different CAs: an agent without which the cluster's CA was rotated comes back with 'interrex agent join' and a join token that is made for it"
}

// refusedTLS turns a refusal by TLS, ours or an alert, into a refusedError; a
// broken connection's error stays. In TLS 1.3 the other end's verdict on our
// certificate arrives only with its first answer.
func refusedTLS(err error) error {
	var alert tls.AlertError
	var op *net.OpError
	var cert *tls.CertificateVerificationError
	switch {
	case errors.As(err, &op) && op.Op == "remote error":
		return &refusedError{reason: fmt.Sprintf("it refuses our TLS or certificate (%v); its log says why", op.Err)}
	case errors.As(err, &alert):
		return &refusedError{reason: fmt.Sprintf("it refuses our TLS or certificate (%v); its log says why", alert)}
	case errors.As(err, &cert):
		return &refusedError{reason: fmt.Sprintf("we refuse its certificate: %v%s", cert.Err, ofAnotherCA(err)), ours: true}
	}
	return err
}
