package admission

import (
	"sync"
	"time"
)

// How many requests the peer of a connection may reset before they are answered: at once,
// and a second. Further requests on the connection wait for resetPause, also if they are
// reset, so that the HTTP server closes the connection when too many wait.
const (
	resetBurst = 1000
	resetRate  = 100
	resetPause = time.Second
)

// resets counts the requests of one connection that were reset. Its zero value is ready
// for use.
type resets struct {
	mu   sync.Mutex
	many float64 // less resetRate a second
	at   time.Time
}

// note counts n requests that were reset, and reports whether there are too many.
func (r *resets) note(n int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	r.many = max(0, r.many-resetRate*now.Sub(r.at).Seconds()) + float64(n)
	r.at = now
	return r.many > resetBurst
}
