package admission

import (
	"sync"
	"time"
)

// How many requests the peer of a connection may reset before they are answered: at once,
// and a second. One that resets more is read slowly until it has not.
const (
	resetBurst = 1000
	resetRate  = 100
)

// resets counts the requests of one connection that were reset. Its zero value is ready
// for use.
type resets struct {
	mu   sync.Mutex
	many float64 // less resetRate a second
	at   time.Time
}

// note counts a request that was reset, and returns for how long the connection is to be
// read slowly; 0: it is not.
func (r *resets) note() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	r.many = max(0, r.many-resetRate*now.Sub(r.at).Seconds()) + 1
	r.at = now
	return time.Duration((r.many - resetBurst) / resetRate * float64(time.Second))
}
