package raftstream

import (
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// CommittedAge is the minimum age of what Committed returns, once appends have
// arrived for that long.
const CommittedAge = time.Second

// committedStep is the minimum time between two samples.
const committedStep = 100 * time.Millisecond

// committed records the commit index in a leader's appends. raft itself limits a
// follower's commit index to the end of its log, so a follower that is far behind
// would seem up to date.
type committed struct {
	mu      sync.Mutex
	term    uint64
	samples []sample // the newest that is CommittedAge old, or the first, and all later ones
}

type sample struct {
	index uint64
	at    time.Time
}

// note records a request; heartbeats have no commit index.
func (c *committed) note(request any, now time.Time) {
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

// Committed returns the commit index in the appends of a term's leader, as of
// CommittedAge ago or of the first of them; 0: there was none.
func (r *Transport) Committed(term uint64) (index uint64) {
	c := &r.committed
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.term != term || len(c.samples) == 0 {
		return 0
	}
	return c.samples[0].index
}
