package raftstream

import (
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// acks records, for each peer, when the newest AppendEntries request that it has
// answered was sent, and up to where its log matches. raft.VerifyLeader also counts
// answers to requests that were sent before it was called; strong reads use these.
//
// Each belongs to the peer's life of raft that has answered: what an agent had on a disk
// that was wiped since is not on the new one.
type acks struct {
	mu      sync.Mutex
	newest  map[raft.ServerID]ack
	matches map[raft.ServerID]match
	changed chan struct{} // nil while there is no waiter
}

type ack struct {
	life string
	sent time.Time
	term uint64
}

// match is the index up to which a peer's log is that of the leader of a term.
type match struct {
	life        string
	term, index uint64
}

// note records an answer of id to a request.
func (a *acks) note(id raft.ServerID, next ack) {
	a.mu.Lock()
	defer a.mu.Unlock()
	old := a.newest[id]
	if next.term < old.term || next.term == old.term && !next.sent.After(old.sent) {
		return
	}
	if a.newest == nil {
		a.newest = map[raft.ServerID]ack{}
	}
	a.newest[id] = next
	if a.changed != nil {
		close(a.changed)
		a.changed = nil
	}
}

// matched records up to where id's log matches, by an answer. Answers of one life may
// overtake each other.
func (a *acks) matched(id raft.ServerID, next match) {
	a.mu.Lock()
	defer a.mu.Unlock()
	old := a.matches[id]
	if next.term < old.term || next.term == old.term && next.life == old.life && next.index <= old.index {
		return
	}
	if a.matches == nil {
		a.matches = map[raft.ServerID]match{}
	}
	a.matches[id] = next
}

func (a *acks) match(id raft.ServerID) match {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.matches[id]
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
