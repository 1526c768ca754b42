package transport

import (
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// acks notes, for each peer, when the newest AppendEntries left that it has
// answered. raft.VerifyLeader counts answers to requests that left before it
// was asked; who reads strongly counts these instead.
type acks struct {
	mu      sync.Mutex
	newest  map[raft.ServerID]ack
	changed chan struct{} // nil while nobody waits
}

type ack struct {
	sent time.Time
	term uint64
}

// note takes up that id answered, in term, a request that left at sent.
func (a *acks) note(id raft.ServerID, sent time.Time, term uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	old := a.newest[id]
	if term < old.term || term == old.term && !sent.After(old.sent) {
		return
	}
	if a.newest == nil {
		a.newest = map[raft.ServerID]ack{}
	}
	a.newest[id] = ack{sent, term}
	if a.changed != nil {
		close(a.changed)
		a.changed = nil
	}
}

func (a *acks) last(id raft.ServerID) ack {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.newest[id]
}

func (a *acks) change() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.changed == nil {
		a.changed = make(chan struct{})
	}
	return a.changed
}
