package peering

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/juju/worker/v3/catacomb"

	"github.com/interrex/interrex/internal/certificates"
	"github.com/interrex/interrex/internal/inbound"
	"github.com/interrex/interrex/internal/peerlogs"
)

// Transport is the port between agents. It is a worker; Kill closes every
// connection that is still open.
type Transport struct {
	catacomb catacomb.Catacomb
	ctx      context.Context // ends with Kill
	cancel   context.CancelFunc
	config   Config
	instance string // distinguishes this transport from a clone's
	book     *book
	memory   peerlogs.Memory
	limits   inbound.Limits
	contacts contacts
	present  present
	began    time.Time
	refusals inbound.Refusals
	listener net.Listener // nil when alone
	wake     chan struct{}
	conns    sync.WaitGroup // goroutines of incoming connections

	meeting sync.WaitGroup // dials of the meetLoop
	news    pace           // used only by the meetLoop

	mu       sync.Mutex
	dialling map[string]bool // addresses that the meetLoop is dialling; true: to be dialled again
	raft     *raftLife       // nil: there was none yet
	api      *inbound.Inlet
	join     *inbound.Inlet
	forward  *inbound.Inlet
	incoming map[net.Conn]struct{} // TCP connections
}

// New binds the port and starts to serve. Its caller must stop the transport.
func New(config Config) (*Transport, error) {
	if err := config.Validate(); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot start the transport: %w", err), config.closeListener())
	}
	config.Timeout = cmp.Or(config.Timeout, DefaultTimeout)
	if config.Dialer == nil {
		config.Dialer = &net.Dialer{KeepAlive: -1} // inbound.Tune sets it
	}
	ctx, cancel := context.WithCancel(context.Background())
	t := &Transport{
		ctx:      ctx,
		cancel:   cancel,
		config:   config,
		instance: rand.Text(),
		book:     newBook(config.ID, config.Peers, config.Recorded),
		contacts: contacts{reads: map[string]*lastRead{}, failed: map[string]attempt{}},
		present:  present{open: map[string]map[*tie]bool{}},
		began:    config.Clock.Now(),
		refusals: inbound.Refusals{Clock: config.Clock, Logger: config.Logger},
		wake:     make(chan struct{}, 1),
		incoming: map[net.Conn]struct{}{},
		dialling: map[string]bool{},
	}
	if err := t.memory.Load(config.Memory); err != nil {
		config.Logger.Warningf("%v", err)
	}
	t.book.remembered = t.memory.Addresses
	if err := t.bind(); err != nil {
		cancel()
		return nil, errors.Join(err, config.closeListener())
	}
	if err := catacomb.Invoke(catacomb.Plan{Site: &t.catacomb, Work: t.loop}); err != nil {
		cancel()
		_ = t.closeListener()
		return nil, fmt.Errorf("cannot start the transport: %w", err)
	}
	return t, nil
}

func (t *Transport) bind() error {
	if t.config.TLS == nil {
		return nil
	}
	// Invalid files are found at the start, and not by the first peer.
	if err := certificates.Check(t.config.TLS, t.config.ID); err != nil {
		return fmt.Errorf("cannot start the transport: %w", err)
	}
	t.listener = t.config.Listener
	if t.listener != nil {
		return nil
	}
	var err error
	if t.listener, err = net.Listen("tcp", t.config.Listen); err != nil {
		return fmt.Errorf("cannot listen for other agents: %w", err)
	}
	return nil
}

func (t *Transport) closeListener() error {
	if t.listener == nil {
		return nil
	}
	return t.listener.Close()
}

// ID returns this agent's ID.
func (t *Transport) ID() string { return t.config.ID }

// ListenAddr returns the bound address, "" for an agent without TLS.
func (t *Transport) ListenAddr() string {
	if t.listener == nil {
		return ""
	}
	return t.listener.Addr().String()
}

// Peers returns the latest hello of every agent that was met, sorted by ID.
func (t *Transport) Peers() []Hello { return t.book.hellos() }

// Peer returns an agent's latest hello, with its addresses as they were sent;
// false: it was not met.
func (t *Transport) Peer(id string) (Hello, bool) { return t.book.latest(id) }

// Address returns the cluster address of an agent, "" when it is not known.
func (t *Transport) Address(id string) string {
	if id == t.config.ID {
		return t.ownAddress()
	}
	return t.book.address(id)
}

// APIAddress returns the API address of an agent, "" when it is not known.
func (t *Transport) APIAddress(id string) string {
	if id == t.config.ID {
		return t.Self().APIAddress
	}
	return t.book.apiAddress(id)
}

// Self returns the hello with which this agent describes itself now.
func (t *Transport) Self() Hello {
	h := t.config.Hello()
	h.Protocol, h.ID, h.Instance = Protocol, t.config.ID, t.instance
	h.ClusterAddress = t.ownAddress()
	h.Met = t.book.list()
	h.Log = t.log()
	return h
}

// ownAddress returns where other agents reach this one.
func (t *Transport) ownAddress() string { return cmp.Or(t.config.Advertise, t.ListenAddr()) }

// log describes raft's log on this agent.
func (t *Transport) log() LogState {
	if l := t.life(); l != nil {
		return l.Log()
	}
	return LogState{Unfit: "raft is not running"}
}

// life returns the life of raft here; nil: it is not running.
func (t *Transport) life() Life {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.raft.over() {
		return nil
	}
	return t.raft.rules
}

// errMyself is returned for a connection of this agent to itself.
var errMyself = errors.New("it is this agent itself")

// check returns an error if an agent is not accepted. certID is the ID in its
// certificate.
func (t *Transport) check(certID string, peer Hello) error {
	if peer.ID != certID {
		return fmt.Errorf("its certificate is for %q and its hello says %q", certID, peer.ID)
	}
	if peer.ID == t.config.ID {
		if peer.Instance == t.instance {
			return errMyself
		}
		return fmt.Errorf("there are two agents with the ID %s: one of them is a clone; give it an ID and a certificate of its own", peer.ID)
	}
	if peer.Protocol < Protocol-1 || peer.Protocol > Protocol+1 {
		return fmt.Errorf("it uses version %d of the protocol between agents, and %s uses %d: they may be at most one apart", peer.Protocol, t.config.ID, Protocol)
	}
	if t.config.Accept != nil {
		if err := t.config.Accept(peer); err != nil {
			return err
		}
	}
	return t.double(peer)
}

// learn records an agent that was accepted, and passes to raft's life what that
// agent remembers of this one.
func (t *Transport) learn(met meeting, recalled *Remembered, protocol string) error {
	peer := met.hello()
	if err := t.meet(peer, recalled, protocol); err != nil {
		return err
	}
	t.noteRead(t.contacts.of(peer.ID))
	news := t.book.learn(met)
	t.memory.MeetAt(peer.ID, t.book.address(peer.ID))
	if !news {
		return nil
	}
	t.config.Logger.Debugf("met %s at %s", peer.ID, peer.ClusterAddress)
	t.Announce()
	if t.config.OnMeet != nil {
		t.config.OnMeet(peer)
	}
	return nil
}

// meet informs raft's life and the memory of an agent to which raft here is open.
func (t *Transport) meet(peer Hello, recalled *Remembered, protocol string) error {
	l := t.life()
	err := t.open(l, peer)
	if err == nil && peer.Log.Life != "" {
		err = l.Met(peer, recalled)
	}
	_, known := t.memory.Of(peer.ID)
	if err == nil || errors.Is(err, ErrNotNow) && known {
		err = errors.Join(err, t.memory.Meet(peer.ofLog()))
	}
	if protocol == protocolRaft {
		return errors.Join(err, t.named(l, peer))
	}
	return nil
}

// named refuses a stream of raft's from an agent whose raft is not running.
func (t *Transport) named(l Life, peer Hello) error {
	if l != nil && l.Log().Life != "" && peer.Log.Life == "" {
		return fmt.Errorf("raft is not running on %s %w", peer.ID, ErrNotNow)
	}
	return nil
}

// open returns why raft here is not open to an agent; nil: it is.
func (t *Transport) open(l Life, peer Hello) error {
	if l == nil {
		return fmt.Errorf("raft is not running on %s %w", t.config.ID, ErrNotNow)
	}
	return l.OpenTo(peer)
}

// openFor returns why this agent is not open to another one's streams; nil: it is.
// While raft is not running here, forwarded requests are let in, and refused
// because another agent leads.
func (t *Transport) openFor(protocol string, peer Hello) error {
	err := t.open(t.life(), peer)
	if protocol == protocolAPI && errors.Is(err, ErrNotNow) {
		return nil
	}
	return err
}

// recall returns what is remembered of an agent's log, and an error if its disk has
// been replaced by an older copy.
func (t *Transport) recall(peer Hello) (*Remembered, error) {
	if err := t.open(t.life(), peer); err != nil && !errors.Is(err, ErrNotNow) {
		return nil, nil
	}
	known, err := t.memory.Compare(peer.ofLog())
	return remembered(known), err
}

// Listener returns a listener for the connections over which other agents forward
// requests. They do TLS themselves; the other end speaks HTTP/2 with prior
// knowledge. There is one listener at a time; closing it closes its connections,
// and then Listener may be called again.
func (t *Transport) Listener() (net.Listener, error) { return t.listen(&t.api, "forwarded requests") }

// ForwardListener returns a listener for the connections of agents without raft, which
// forward the requests of their callers. They say no hello and are not among the agents
// that were met; their certificates are valid. The other end speaks HTTP/2 with prior
// knowledge. There is one listener at a time; closing it closes its connections, and
// then ForwardListener may be called again.
func (t *Transport) ForwardListener() (net.Listener, error) {
	return t.listen(&t.forward, "agents without raft")
}

func (t *Transport) listen(in **inbound.Inlet, what string) (net.Listener, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if *in != nil && !(*in).IsClosed() {
		return nil, fmt.Errorf("cannot listen for %s: the previous listener is not closed", what)
	}
	*in = t.inlet()
	return *in, nil
}

// inlet returns an inlet, which is closed if the transport is stopping.
func (t *Transport) inlet() *inbound.Inlet {
	in := inbound.NewInlet(inbound.IDAddr(t.config.ID))
	if t.ctx.Err() != nil {
		_ = in.Close()
	}
	return in
}

// JoinListener returns a listener for the connections of agents that join: they have
// shown no certificate, and Session returns their TLS session. There is one listener at
// a time; closing it closes its connections, and then JoinListener may be called again.
func (t *Transport) JoinListener() (net.Listener, error) {
	return t.listen(&t.join, "agents that join")
}

// Session returns the TLS session of a connection of JoinListener, which may be wrapped
// in one that has NetConn; nil: it is another.
func Session(c net.Conn) *tls.ConnectionState {
	if wrapped, is := c.(interface{ NetConn() net.Conn }); is {
		c = wrapped.NetConn()
	}
	held, is := c.(*inbound.Held)
	if !is {
		return nil
	}
	conn, is := held.Conn.Conn.(*tls.Conn)
	if !is {
		return nil
	}
	state := conn.ConnectionState()
	return &state
}

// deadline returns the deadline of a handshake, by the wall clock, as sockets need.
func deadline() time.Time { return time.Now().Add(handshakeTimeout) }
