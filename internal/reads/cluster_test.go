package reads

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	"github.com/juju/clock"

	"github.com/interrex/interrex/internal/certificates"
	"github.com/interrex/interrex/internal/peering"
	"github.com/interrex/interrex/internal/silent"
)

// valve holds back what a node sends and receives while it is shut, and lets
// all of it through, late, when it is opened again.
type valve struct {
	mu   sync.Mutex
	open chan struct{}
}

func newValve() *valve {
	v := &valve{open: make(chan struct{})}
	close(v.open)
	return v
}

func (v *valve) shut() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.open = make(chan struct{})
}

func (v *valve) release() {
	v.mu.Lock()
	defer v.mu.Unlock()
	select {
	case <-v.open:
	default:
		close(v.open)
	}
}

func (v *valve) pass() {
	v.mu.Lock()
	open := v.open
	v.mu.Unlock()
	<-open
}

// DialContext implements transport.Dialer.
func (v *valve) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &heldBack{c, v}, nil
}

type valvedListener struct {
	net.Listener
	valve *valve
}

func (l *valvedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &heldBack{c, l.valve}, nil
}

type heldBack struct {
	net.Conn
	valve *valve
}

func (c *heldBack) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.valve.pass()
	return n, err
}

func (c *heldBack) Write(p []byte) (int, error) {
	c.valve.pass()
	return c.Conn.Write(p)
}

// member is one agent of a real cluster over TLS.
type member struct {
	id     string
	valve  *valve
	raft   *raft.Raft
	term   atomic.Uint64 // of the newest applied entry
	rounds *Rounds
}

// fsm keeps nothing but the term of what it applies.
type fsm struct{ m *member }

func (f fsm) Apply(l *raft.Log) any {
	f.m.term.Store(l.Term)
	return nil
}

func (f fsm) Snapshot() (raft.FSMSnapshot, error) {
	return nil, errors.New("there are no snapshots here")
}
func (f fsm) Restore(r io.ReadCloser) error { return r.Close() }

// ready is the term in which m has applied an entry as its leader.
func (m *member) ready() uint64 { return m.term.Load() }

// WaitApplied is not needed: only indexes are requested.
func (m *member) WaitApplied(context.Context, uint64) error { return nil }

// newMembers starts a cluster of n.
func newMembers(t *testing.T, n int) []*member {
	ca, err := certificates.DevCA()
	if err != nil {
		t.Fatal(err)
	}
	addresses := map[string]string{}
	listeners := map[string]net.Listener{}
	var servers []raft.Server
	for i := range n {
		id := string(rune('a' + i))
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listeners[id], addresses[id] = l, l.Addr().String()
		servers = append(servers, raft.Server{ID: raft.ServerID(id), Address: raft.ServerAddress(id)})
	}
	var all []*member
	for _, s := range servers {
		m := &member{id: string(s.ID), valve: newValve()}
		m.start(t, ca, &valvedListener{listeners[m.id], m.valve}, addresses)
		all = append(all, m)
	}
	if err := all[0].raft.BootstrapCluster(raft.Configuration{Servers: servers}).Error(); err != nil {
		t.Fatal(err)
	}
	return all
}

func (m *member) start(t *testing.T, ca *certificates.CA, l net.Listener, peers map[string]string) {
	given, err := ca.TLS(m.id)
	if err != nil {
		t.Fatal(err)
	}
	port, err := peering.New(peering.Config{
		ID: m.id, TLS: given, Listener: l, Peers: peers, Dialer: m.valve,
		Clock: clock.WallClock, Logger: silent.Logger{}, Timeout: 2 * time.Second,
		Hello: func() peering.Hello { return peering.Hello{Incarnation: m.id} },
	})
	if err != nil {
		t.Fatal(err)
	}
	streams, err := port.Raft(peering.RaftConfig{})
	if err != nil {
		t.Fatal(err)
	}
	config := raft.DefaultConfig()
	config.LocalID = raft.ServerID(m.id)
	config.HeartbeatTimeout, config.ElectionTimeout, config.LeaderLeaseTimeout = 150*time.Millisecond, 150*time.Millisecond, 100*time.Millisecond
	config.CommitTimeout = 5 * time.Millisecond
	config.Logger = hclog.NewNullLogger()
	store := raft.NewInmemStore()
	if m.raft, err = raft.NewRaft(config, fsm{m}, store, store, raft.NewInmemSnapshotStore(), streams); err != nil {
		t.Fatal(err)
	}
	m.rounds, err = New(Config{
		ID: m.id, Raft: m.raft, Acks: streams, State: m, ReadyTerm: m.ready, Clock: clock.WallClock, Logger: silent.Logger{},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		m.valve.release()
		m.rounds.Kill()
		_ = m.rounds.Wait()
		streams.Drain()
		_ = m.raft.Shutdown().Error()
		port.Kill()
		if err := port.Wait(); err != nil {
			t.Error(err)
		}
	})
}

// history is what is needed to judge a read: the highest index that was
// acknowledged before it began.
type history struct {
	acknowledged atomic.Uint64
	writes       atomic.Uint64
	reads        atomic.Uint64
}

func (h *history) wrote(index uint64) {
	h.writes.Add(1)
	for {
		old := h.acknowledged.Load()
		if old >= index || h.acknowledged.CompareAndSwap(old, index) {
			return
		}
	}
}

func (h *history) writeTo(ctx context.Context, m *member) {
	for ctx.Err() == nil {
		if m.raft.State() != raft.Leader {
			rest(ctx)
			continue
		}
		if f := m.raft.Apply([]byte("x"), time.Second); f.Error() == nil {
			h.wrote(f.Index())
		}
	}
}

func (h *history) readFrom(ctx context.Context, t *testing.T, m *member) {
	for ctx.Err() == nil {
		before := h.acknowledged.Load()
		index, err := m.rounds.Index(ctx)
		switch {
		case err != nil:
			rest(ctx)
		case index < before:
			t.Errorf("a strong read on %s may be of entry %d, and %d was acknowledged before it began", m.id, index, before)
			return
		default:
			h.reads.Add(1)
		}
	}
}

func rest(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(time.Millisecond):
	}
}

// Leaders are cut off in mid-flight, one after the other, for longer than an
// election takes, and what they sent and were answered arrives when others
// lead. No read may miss what was acknowledged before it began.
func TestNoStrongReadIsStaleWhileLeadersArePaused(t *testing.T) {
	members := newMembers(t, 3)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var h history
	var callers sync.WaitGroup
	for _, m := range members {
		callers.Go(func() { h.writeTo(ctx, m) })
		for range 4 {
			callers.Go(func() { h.readFrom(ctx, t, m) })
		}
	}
	pauses := 0
	// As long as it takes, on a slow machine, to show anything.
	for began := time.Now(); ctx.Err() == nil && (time.Since(began) < 4*time.Second || pauses < 3 || h.reads.Load() < 100 || h.writes.Load() < 100); {
		pauseLeader(ctx, members, &pauses)
	}
	cancel()
	for _, m := range members {
		m.valve.release()
	}
	callers.Wait()
	t.Logf("%d pauses, %d writes, %d strong reads", pauses, h.writes.Load(), h.reads.Load())
	if pauses < 3 || h.reads.Load() < 100 || h.writes.Load() < 100 {
		t.Error("too little happened to show anything")
	}
}

func pauseLeader(ctx context.Context, members []*member, pauses *int) {
	wait(ctx, 100*time.Millisecond+rand.N(200*time.Millisecond))
	for _, m := range members {
		if m.raft.State() == raft.Leader {
			*pauses++
			m.valve.shut()
			wait(ctx, rand.N(600*time.Millisecond))
			m.valve.release()
		}
	}
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
