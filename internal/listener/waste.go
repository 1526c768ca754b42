package listener

import (
	"net/netip"
	"sync"
	"time"
)

// How much the peer of a connection may waste, at once and a second: requests that it
// resets before they are answered, and pieces of bodies that are hardly larger than what
// they come in. One that wastes more is read slowly until it has not. All connections from
// one address may waste as much together, so that a peer gains nothing by another
// connection; beyond that each of them has only what is spared for it, which is enough for
// one that cancels a request now and then.
const (
	wasteBurst = 1000
	wasteRate  = 100
	spareBurst = 10
	spareRate  = 1
)

// maxWasters is the maximum number of addresses whose waste is counted. Of further ones
// each connection is counted by itself.
const maxWasters = 4096

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

// waste counts what one connection has wasted.
type waste struct {
	mu         sync.Mutex
	own, spare leaky
}

// note counts one, and returns for how long the connection is to be read slowly; 0: it is
// not.
func (w *waste) note(t *wasters, a netip.Addr) time.Duration {
	now := time.Now()
	all := t.note(a, now)
	w.mu.Lock()
	defer w.mu.Unlock()
	excess := w.own.add(now, wasteBurst, wasteRate)
	if w.spare.add(now, spareBurst, spareRate) > 0 {
		excess = max(excess, all)
	}
	return time.Duration(max(0, excess) / wasteRate * float64(time.Second))
}

// wasters counts what the connections of each address have wasted. Its zero value is ready
// for use.
type wasters struct {
	mu    sync.Mutex
	from  map[netip.Addr]*leaky
	swept time.Time
}

// note counts one from an address, and returns how many are too many.
func (t *wasters) note(a netip.Addr, now time.Time) (excess float64) {
	if !a.IsValid() { // of the socket: its callers are many
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.from[a]
	if l == nil {
		if t.sweep(now); len(t.from) >= maxWasters {
			return 0
		}
		if t.from == nil {
			t.from = map[netip.Addr]*leaky{}
		}
		l = &leaky{}
		t.from[a] = l
	}
	return l.add(now, wasteBurst, wasteRate)
}

// sweep forgets the addresses to which everything is forgiven, once a second at most.
func (t *wasters) sweep(now time.Time) {
	if now.Sub(t.swept) < time.Second {
		return
	}
	t.swept = now
	for a, l := range t.from {
		if l.many <= wasteRate*now.Sub(l.at).Seconds() {
			delete(t.from, a)
		}
	}
}
