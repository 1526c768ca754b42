package raftstream

import (
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// acks records, for each peer, when the newest AppendEntries request that it has
// answered was sent, and up to where its log matches. raft.VerifyLeader also counts
// answers to requests that were sent before it was called; strong reads use these.
type acks struct {
	mu      sync.Mutex
	newest  map[raft.ServerID]ack
	matches map[raft.ServerID]match
	changed chan struct{} // nil while there is no waiter
}

type ack struct {
	sent time.Time
	term uint64
}

// match is the index up to which a peer's log is that of the leader of a term.
type match struct{ term, index uint64 }

// note records that id answered, in term, a request that was sent at sent.
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

// matched records that id's log matches up to index, by its answer in term. Answers
// may overtake each other.
func (a *acks) matched(id raft.ServerID, term, index uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	old := a.matches[id]
	if term < old.term || term == old.term && index <= old.index {
		return
	}
	if a.matches == nil {
		a.matches = map[raft.ServerID]match{}
	}
	a.matches[id] = match{term, index}
}

// match returns the index up to which the log of id matches, by its answers in term.
func (a *acks) match(id raft.ServerID, term uint64) uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	if m := a.matches[id]; m.term == term {
		return m.index
	}
	return 0
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
