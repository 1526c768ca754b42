package storage_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex/storage"
	"github.com/interrex/interrex/storage/conformance"
)

// run runs a backend until the test ends.
func run(t *testing.T, b *storage.Backend) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := b.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); running.Wait() })
}

// restart replaces what is stored by itself.
func restart(t *testing.T, s storage.Store) {
	t.Helper()
	b := s.(*storage.Backend)
	snapshot, err := b.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	r, err := b.Restore()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Abort()
	for {
		item, err := snapshot.Next()
		if err != nil {
			t.Fatal(err)
		}
		if item == nil {
			break
		}
		if err := r.Apply(item); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Commit(); err != nil {
		t.Fatal(err)
	}
}

func TestMemoryConforms(t *testing.T) {
	conformance.Run(t, conformance.Config{Restart: restart, New: func(t *testing.T) storage.Store {
		b := storage.NewMemory(nil)
		run(t, b)
		return b
	}})
}

func TestALeaderConforms(t *testing.T) {
	conformance.Run(t, conformance.Config{Restart: restart, New: func(t *testing.T) storage.Store {
		return newPair(t).leader.backend
	}})
}

func TestAFollowerConforms(t *testing.T) {
	conformance.Run(t, conformance.Config{Restart: restart, New: func(t *testing.T) storage.Store {
		return newPair(t).follower.backend
	}})
}

// pair is two replicas over TCP: what the leader applies reaches the follower a
// little later.
type pair struct {
	leader, follower *replica
	listener         net.Listener

	mu      sync.Mutex
	last    uint64
	entries chan entry
	quorum  bool
	dialled int
}

type entry struct {
	index uint64
	msg   []byte
}

type replica struct {
	pair    *pair
	leads   bool
	backend *storage.Backend
}

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{entries: make(chan entry, 100_000), quorum: true}
	p.leader, p.follower = &replica{pair: p, leads: true}, &replica{pair: p}
	for _, r := range []*replica{p.leader, p.follower} {
		r.backend = storage.NewBackend(r, nil)
		run(t, r.backend)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.listener = l
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.leader.backend.HandleConnection(c)
		}
	})
	all.Go(func() {
		for e := range p.entries {
			time.Sleep(rand.N(3 * time.Millisecond)) // the follower lags
			p.follower.backend.Apply(e.msg, e.index)
		}
	})
	t.Cleanup(func() {
		l.Close()
		close(p.entries)
		all.Wait()
	})
	return p
}

func (r *replica) IsLeader() bool { return r.leads }

func (r *replica) Apply(msg []byte) (any, error) {
	p := r.pair
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case !r.leads:
		return nil, raft.ErrNotLeader
	case !p.quorum:
		return nil, raft.ErrLeadershipLost
	}
	p.last++
	got := r.backend.Apply(msg, p.last)
	p.entries <- entry{p.last, msg}
	if err, is := got.(error); is {
		return nil, err
	}
	return got, nil
}

func (r *replica) EnsureStrongConsistency(context.Context) error {
	r.pair.mu.Lock()
	defer r.pair.mu.Unlock()
	if !r.leads || !r.pair.quorum {
		return errors.New("no quorum")
	}
	return nil
}

func (r *replica) DialLeader(ctx context.Context) (net.Conn, error) {
	r.pair.mu.Lock()
	r.pair.dialled++
	r.pair.mu.Unlock()
	var d net.Dialer
	return d.DialContext(ctx, "tcp", r.pair.listener.Addr().String())
}
