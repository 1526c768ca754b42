package raftstream

import (
	"sync"

	"github.com/hashicorp/raft"
)

// heartbeatGate stands before raft's heartbeat handler, which hashicorp/raft
// calls past its main loop and does not wait for when it shuts down: a
// heartbeat that is late would reach stores that are closed by then
// (hashicorp/raft#717).
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

// close lets nothing more in and returns when nothing is inside.
func (g *heartbeatGate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
}
