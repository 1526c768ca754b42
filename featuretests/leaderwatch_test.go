package featuretests

import (
	"context"
	"flag"
	"sync"
	"testing"
	"time"
)

// leaderWithin is how long a cluster may be without a leader.
var leaderWithin = flag.Duration("leader-within", 20*time.Second, "the longest time without a leader while members change")

// leaderWatch watches who leads a fleet, and for how long nobody does.
type leaderWatch struct {
	stop context.CancelFunc
	busy sync.WaitGroup

	mu            sync.Mutex
	leaders       map[uint64]string // by term
	repeated      []string
	gone, longest time.Duration // without a leader: now, and at most
}

// The pauses of a leaderWatch. A tick that takes longer than stall counts as one of
// that length: the machine was busy with something else.
const (
	lookEvery = 100 * time.Millisecond
	tickEvery = 50 * time.Millisecond
	stall     = 4 * tickEvery
)

// watchLeaders starts to watch; the first leader is there already.
func (f *fleet) watchLeaders() *leaderWatch {
	w := &leaderWatch{leaders: map[uint64]string{}}
	var ctx context.Context
	ctx, w.stop = context.WithCancel(f.t.Context())
	for i := range f.members {
		w.busy.Go(func() {
			for ; ctx.Err() == nil; pause(ctx, lookEvery) {
				if s, err := f.status(i); err == nil && s.State == "leader" && s.Ready {
					w.leads(s.Id, s.Term)
				}
			}
		})
	}
	w.busy.Go(func() { w.count(ctx) })
	f.t.Cleanup(w.busy.Wait)
	f.t.Cleanup(w.stop)
	return w
}

// leads notes that an agent leads in a term.
func (w *leaderWatch) leads(id string, term uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gone = 0
	if before := w.leaders[term]; before != "" && before != id {
		w.repeated = append(w.repeated, before+" and "+id)
	}
	w.leaders[term] = id
}

// count counts the time since a leader was seen.
func (w *leaderWatch) count(ctx context.Context) {
	for last := time.Now(); ctx.Err() == nil; {
		pause(ctx, tickEvery)
		now := time.Now()
		w.mu.Lock()
		w.gone += min(now.Sub(last), stall)
		w.longest = max(w.longest, w.gone)
		w.mu.Unlock()
		last = now
	}
}

// check ends the watch, and fails the test if two agents led in one term, or if there was
// no leader for too long, or no answer to callers.
func (w *leaderWatch) check(t *testing.T, unanswered time.Duration) {
	t.Helper()
	w.stop()
	w.busy.Wait()
	t.Logf("%d agents led, one after another; the longest time without a leader was %s, without an answer %s", len(w.leaders), w.longest, unanswered)
	if len(w.repeated) > 0 {
		t.Errorf("led in the same term: %q", w.repeated)
	}
	if w.longest > *leaderWithin || unanswered > *leaderWithin {
		t.Errorf("there was no leader for %s, and no answer for %s: not more than %s is allowed", w.longest, unanswered, *leaderWithin)
	}
}
