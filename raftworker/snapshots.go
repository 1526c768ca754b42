package raftworker

import (
	"sync"

	"github.com/hashicorp/raft"
)

// maxInstalls is how often a snapshot of one index may be made before it is
// an alarm: a leader that sends the same one again and again has a follower
// that it cannot bring up to date (hashicorp/raft#697).
const maxInstalls = 3

// countedSnapshots counts how often one index's snapshot is made in a row.
type countedSnapshots struct {
	raft.SnapshotStore
	logger Logger

	mu    sync.Mutex
	index uint64
	times int
}

// Create begins a snapshot, of raft's own or of the leader's.
func (c *countedSnapshots) Create(version raft.SnapshotVersion, index, term uint64, members raft.Configuration, membersIndex uint64, trans raft.Transport) (raft.SnapshotSink, error) {
	c.count(index)
	return c.SnapshotStore.Create(version, index, term, members, membersIndex, trans)
}

func (c *countedSnapshots) count(index uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if index != c.index {
		c.index, c.times = index, 0
	}
	c.times++
	if c.times == maxInstalls+1 {
		c.logger.Errorf("the snapshot of log index %d has been installed %d times: this agent cannot catch up; if it goes on, restart it, and the leader", index, c.times)
	}
}

// alarm gives the index that is installed again and again; 0: none is.
func (c *countedSnapshots) alarm() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.times <= maxInstalls {
		return 0
	}
	return c.index
}
