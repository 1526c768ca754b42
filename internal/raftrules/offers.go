package raftrules

import (
	"sync"
	"time"

	"github.com/juju/clock"
)

const (
	// maxOffers is how often a snapshot of one index may arrive before it is an
	// alarm: a leader that sends the same one again and again has a follower that
	// it cannot bring up to date (hashicorp/raft#697).
	maxOffers = 3
	// offersApart is how long the alarm stays without another one: raft waits for
	// 10 s at most between two, and each may take a while.
	offersApart = 2 * time.Minute
)

// offers counts how often one index's snapshot arrives in a row, whether it is
// installed or not.
type offers struct {
	clock  clock.Clock
	logger Logger

	mu    sync.Mutex
	index uint64
	times int
	last  time.Time
}

func (o *offers) count(index uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if index != o.index {
		o.index, o.times = index, 0
	}
	o.times++
	o.last = o.clock.Now()
	if o.times == maxOffers+1 {
		o.logger.Errorf("the leader has sent the snapshot of log index %d %d times: this agent cannot catch up; if it goes on, restart it, and the leader", index, o.times)
	}
}

// alarm returns the index whose snapshot arrives again and again; 0: none does.
func (o *offers) alarm() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.times <= maxOffers || o.clock.Now().Sub(o.last) > offersApart {
		return 0
	}
	return o.index
}
