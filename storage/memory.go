package storage

import (
	"context"
	"net"
	"sync"

	"github.com/interrex/interrex"
)

// NewMemory returns a Backend without other replicas that keeps everything in
// memory, for tests and experiments. logger may be nil.
func NewMemory(logger interrex.Logger) *Backend {
	m := &memory{}
	m.backend = NewBackend(m, logger)
	return m.backend
}

// memory is a log of one replica.
type memory struct {
	backend *Backend

	mu   sync.Mutex
	last uint64
}

func (m *memory) Apply(msg []byte) (any, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last++
	got := m.backend.Apply(msg, m.last)
	if err, is := got.(error); is {
		return nil, err
	}
	return got, nil
}

func (m *memory) IsLeader() bool                                { return true }
func (m *memory) EnsureStrongConsistency(context.Context) error { return nil }

func (m *memory) DialLeader(context.Context) (net.Conn, error) {
	return nil, &net.AddrError{Err: "this backend has no other replicas"}
}
