package peering

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/interrex/interrex/internal/inbound"
)

// doubleAfter is how long an agent must not have been heard from before another one
// with its ID takes its place, where connections with it are still open.
const doubleAfter = 5 * time.Second

// doubleNoted is how long a refused double is shown: it tries again more often.
const doubleNoted = 15 * time.Second

// present holds the open connections with each life of another agent's transport.
type present struct {
	mu      sync.Mutex
	open    map[string]map[*tie]bool // by ID
	doubles map[string]double        // the latest refused one, by ID
}

// tie is an open connection with one life of another agent's transport.
type tie struct {
	instance string
	conn     net.Conn
	heard    lastRead
}

// double is an agent that was refused because another one of its ID is connected.
type double struct {
	contact Contact
	at      time.Time
}

// enter counts a connection with an agent until leave is called, once or more.
func (t *Transport) enter(peer Hello, conn net.Conn) (c *tie, leave func()) {
	c = &tie{instance: peer.Instance, conn: conn}
	t.noteRead(&c.heard)
	p := &t.present
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open[peer.ID] == nil {
		p.open[peer.ID] = map[*tie]bool{}
	}
	p.open[peer.ID][c] = true
	return c, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.open[peer.ID], c)
		if len(p.open[peer.ID]) == 0 {
			delete(p.open, peer.ID)
		}
	}
}

// hasOther reports whether another agent of the same ID is connected, and this one is
// not. A connection that nothing reads, such as one of raft's that waits for its next
// use, is not closed here when that agent ends: what counts is that it is open at the
// other end, too, and that something was heard over it lately.
func (t *Transport) hasOther(peer Hello) (other bool) {
	t.present.mu.Lock()
	defer t.present.mu.Unlock()
	for c := range t.present.open[peer.ID] {
		if c.instance == peer.Instance {
			return false
		}
		other = other || t.since(&c.heard) < doubleAfter && !inbound.HasEnded(c.conn)
	}
	return other
}

// double returns an error if an agent with the peer's ID is connected already, and is
// not this one before a restart: both would vote.
func (t *Transport) double(peer Hello) error {
	if !t.hasOther(peer) {
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
