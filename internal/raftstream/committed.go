package raftstream

import (
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// CommittedAge is how old Committed is, at least, where appends have come for so
// long.
const CommittedAge = time.Second

// committedStep is the least time between two samples.
const committedStep = 100 * time.Millisecond

// committed notes what a leader says of its commit index. raft itself caps a
// follower's commit index at the end of its own log, so that one that is far
// behind seems to be at the end of it.
type committed struct {
	mu      sync.Mutex
	term    uint64
	samples []sample // from the newest that is CommittedAge old, or the first, on
}

type sample struct {
	index uint64
	at    time.Time
}

// heard takes up a request; heartbeats say nothing.
func (c *committed) heard(request any, now time.Time) {
	r, is := request.(*raft.AppendEntriesRequest)
	if !is || r.LeaderCommitIndex == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case r.Term < c.term:
		return
	case r.Term > c.term:
		c.term, c.samples = r.Term, c.samples[:0]
	}
	if n := len(c.samples); n > 0 && now.Sub(c.samples[n-1].at) < committedStep {
		return
	}
	c.samples = append(c.samples, sample{r.LeaderCommitIndex, now})
	for len(c.samples) > 1 && now.Sub(c.samples[1].at) >= CommittedAge {
		c.samples = append(c.samples[:0], c.samples[1:]...)
	}
}

// Committed returns the commit index that the leader of a term has told with its
// appends, as of CommittedAge ago or of the first of them; 0: it has told none.
func (r *Transport) Committed(term uint64) (index uint64) {
	c := &r.committed
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.term != term || len(c.samples) == 0 {
		return 0
	}
	return c.samples[0].index
}
