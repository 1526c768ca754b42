package listener

import (
	"net/netip"
	"sync"
	"time"
)

// How many requests the peer of a connection may reset before they are answered: at once,
// and a second. One that resets more is read slowly until it has not. All connections from
// one address may reset as many together, so that a peer gains nothing by another
// connection; beyond that each of them has only what is spared for it, which is enough for
// one that cancels a request now and then.
const (
	resetBurst = 1000
	resetRate  = 100
	spareBurst = 10
	spareRate  = 1
)

// maxResetting is the maximum number of addresses whose resets are counted. Of further ones
// each connection is counted by itself.
const maxResetting = 4096

// leaky is a count that decreases with time. Its zero value is ready for use.
type leaky struct {
	many float64
	at   time.Time
}

// add counts one more, at most twice burst, and returns how many are too many. rate is how
// many are forgiven a second.
func (l *leaky) add(now time.Time, burst, rate float64) (excess float64) {
	l.many = min(2*burst, max(0, l.many-rate*now.Sub(l.at).Seconds())+1)
	l.at = now
	return l.many - burst
}

// resets counts the requests that one connection has reset.
type resets struct {
	mu         sync.Mutex
	own, spare leaky
}

// note counts a request that was reset, and returns for how long the connection is to be
// read slowly; 0: it is not.
func (r *resets) note(t *resetters, a netip.Addr) time.Duration {
	now := time.Now()
	all := t.note(a, now)
	r.mu.Lock()
	defer r.mu.Unlock()
	excess := r.own.add(now, resetBurst, resetRate)
	if r.spare.add(now, spareBurst, spareRate) > 0 {
		excess = max(excess, all)
	}
	return time.Duration(max(0, excess) / resetRate * float64(time.Second))
}

// resetters counts the requests that the connections of each address have reset. Its zero
// value is ready for use.
type resetters struct {
	mu    sync.Mutex
	from  map[netip.Addr]*leaky
	swept time.Time
}

// note counts a request that was reset from an address, and returns how many are too many.
func (t *resetters) note(a netip.Addr, now time.Time) (excess float64) {
	if !a.IsValid() { // of the socket: its callers are many
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.from[a]
	if l == nil {
		if t.sweep(now); len(t.from) >= maxResetting {
			return 0
		}
		if t.from == nil {
			t.from = map[netip.Addr]*leaky{}
		}
		l = &leaky{}
		t.from[a] = l
	}
	return l.add(now, resetBurst, resetRate)
}

// sweep forgets the addresses to which everything is forgiven, once a second at most.
func (t *resetters) sweep(now time.Time) {
	if now.Sub(t.swept) < time.Second {
		return
	}
	t.swept = now
	for a, l := range t.from {
		if l.many <= resetRate*now.Sub(l.at).Seconds() {
			delete(t.from, a)
		}
	}
}
