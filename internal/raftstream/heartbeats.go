package raftstream

import (
	"sync"

	"github.com/hashicorp/raft"
)

// heartbeatGate is in front of raft's heartbeat handler, which hashicorp/raft calls
// outside its main loop and does not wait for at its shutdown: a late heartbeat
// would reach stores that are already closed (hashicorp/raft#717).
type heartbeatGate struct {
	mu     sync.RWMutex // held for reading by each heartbeat in the handler
	closed bool
}

// guard wraps a heartbeat handler.
func (g *heartbeatGate) guard(handle func(raft.RPC)) func(raft.RPC) {
	return func(rpc raft.RPC) {
		g.mu.RLock()
		defer g.mu.RUnlock()
		if g.closed {
			rpc.Respond(nil, raft.ErrRaftShutdown)
			return
		}
		handle(rpc)
	}
}

// close rejects further heartbeats and returns when none is being handled.
func (g *heartbeatGate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
}
