package raftrules

import (
	"sync"
	"time"

	"github.com/juju/clock"
)

const (
	// maxOffers is how often a snapshot of one index may arrive before it is an
	// alarm: a leader that sends the same one repeatedly cannot bring this follower
	// up to date (hashicorp/raft#697).
	maxOffers = 3
	// offersApart is how long the alarm lasts without another one: raft waits for at
	// most 10 s between two, and each may take a while.
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
		o.logger.Errorf("the leader has sent the snapshot of log index %d %d times: this agent cannot catch up; if this continues, restart it, and the leader", index, o.times)
	}
}

// alarm returns the index whose snapshot arrives repeatedly; 0: there is none.
func (o *offers) alarm() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.times <= maxOffers || o.clock.Now().Sub(o.last) > offersApart {
		return 0
	}
	return o.index
}
