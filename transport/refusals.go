package transport

import (
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/juju/clock"
)

// A refusal is logged at most this often for each peer, and so many peers are
// told apart before the oldest are forgotten.
const (
	refusalEvery = time.Minute
	maxRefusals  = 1024
)

// refusals logs why agents and strangers were turned away, without letting
// them fill the log.
type refusals struct {
	clock  clock.Clock
	logger Logger

	mu   sync.Mutex
	at   map[string]time.Time
	last string
}

// note logs a refusal of who unless it did so within the last minute.
func (r *refusals) note(who, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if r.due(who, text) {
		r.logger.Warningf("%s", text)
	}
}

func (r *refusals) due(who, text string) bool {
	now := r.clock.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = text
	if at, ok := r.at[who]; ok && now.Sub(at) < refusalEvery {
		return false
	}
	if len(r.at) >= maxRefusals {
		maps.DeleteFunc(r.at, func(_ string, at time.Time) bool { return now.Sub(at) >= refusalEvery })
	}
	if r.at == nil || len(r.at) >= maxRefusals {
		r.at = map[string]time.Time{}
	}
	r.at[who] = now
	return true
}

func (r *refusals) newest() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}
