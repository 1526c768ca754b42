package transport

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"
)

// doubleAfter is how long an agent must not have been heard from before another one
// with its ID takes its place, where connections with it are still open.
const doubleAfter = 5 * time.Second

// doubleNoted is how long a refused double is shown: it tries again more often.
const doubleNoted = 15 * time.Second

// present counts the open connections with each life of another agent's transport.
type present struct {
	mu      sync.Mutex
	open    map[string]map[string]int // by ID and instance
	doubles map[string]double         // the latest refused one, by ID
}

// double is an agent that was refused because another one of its ID is connected.
type double struct {
	contact Contact
	at      time.Time
}

// enter counts a connection with an agent until leave is called, once or more.
func (p *present) enter(peer Hello) (leave func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open[peer.ID] == nil {
		p.open[peer.ID] = map[string]int{}
	}
	p.open[peer.ID][peer.Instance]++
	return sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		of := p.open[peer.ID]
		if of[peer.Instance]--; of[peer.Instance] == 0 {
			delete(of, peer.Instance)
		}
		if len(of) == 0 {
			delete(p.open, peer.ID)
		}
	})
}

// hasOther reports whether there are connections with another agent of the same ID, and
// none with this one.
func (p *present) hasOther(peer Hello) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	of := p.open[peer.ID]
	return len(of) > 0 && of[peer.Instance] == 0
}

// double returns an error if an agent with the peer's ID is connected already, and is
// not this one before a restart: that one's connections were closed with its process,
// or nothing was heard from it for a while. Both would vote.
func (t *Transport) double(peer Hello) error {
	if !t.present.hasOther(peer) || t.config.Clock.Now().Sub(t.lastHeard(peer.ID)) >= doubleAfter {
		return nil
	}
	err := fmt.Errorf("agent %s runs already, at %s, and this is another one with its ID, at %s: stop one of them, and never run two copies of a data directory", peer.ID, t.book.address(peer.ID), peer.ClusterAddress)
	t.present.note(Contact{ID: peer.ID, Address: peer.ClusterAddress, Err: err, Refused: true, Ours: true}, t.config.Clock.Now())
	return err
}

// note records that a double was refused.
func (p *present) note(c Contact, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.doubles == nil || len(p.doubles) >= maxKnown {
		p.doubles = map[string]double{}
	}
	p.doubles[c.ID] = double{c, now}
}

// refused returns the doubles that were refused lately.
func (p *present) refused(now time.Time) (all []Contact) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range p.doubles {
		if now.Sub(d.at) < doubleNoted {
			all = append(all, d.contact)
		}
	}
	slices.SortFunc(all, func(a, b Contact) int { return cmp.Compare(a.ID, b.ID) })
	return all
}
