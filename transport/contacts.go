package transport

import (
	"crypto/tls"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Contact says how an agent, or an address where one should be, was reached.
type Contact struct {
	ID      string // empty: nobody has been met at the address yet
	Address string // empty: none is known
	// Heard is when this agent last received anything of it, over whichever
	// connection; zero: never.
	Heard time.Time
	// Err is why the newest attempt to reach it failed, if it has not been heard
	// of since.
	Err error
	// Refused says that the attempt failed by a verdict and not by the network;
	// Ours that the verdict is this agent's.
	Refused, Ours bool
}

// contacts notes when each agent was last heard of, and how the newest attempt
// at each address ended.
type contacts struct {
	mu     sync.Mutex
	heard  map[string]*heard  // by ID
	failed map[string]attempt // by address
}

// attempt is a dial that has failed.
type attempt struct {
	at  time.Time
	err error
}

// heard is when an agent was last heard of, in nanoseconds since the transport
// began; 0: never. Each of its connections notes it at each read.
type heard struct{ since atomic.Int64 }

// of returns an agent's note.
func (c *contacts) of(id string) *heard {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.heard[id]
	if h == nil {
		h = new(heard)
		c.forgetOne()
		c.heard[id] = h
	}
	return h
}

// forgetOne makes room: it forgets who was heard of longest ago.
func (c *contacts) forgetOne() {
	if len(c.heard) < maxKnown {
		return
	}
	oldest := ""
	for id, h := range c.heard {
		if oldest == "" || h.since.Load() < c.heard[oldest].since.Load() {
			oldest = id
		}
	}
	delete(c.heard, oldest)
}

// note takes up how a dial of an address ended.
func (c *contacts) note(address string, now time.Time, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		delete(c.failed, address)
		return
	}
	if _, known := c.failed[address]; !known && len(c.failed) >= 2*maxKnown {
		clear(c.failed)
	}
	c.failed[address] = attempt{now, err}
}

func (c *contacts) lastFailure(address string) attempt {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failed[address]
}

// hear notes that something of an agent has arrived now.
func (t *Transport) hear(h *heard) {
	h.since.Store(int64(max(t.config.Clock.Now().Sub(t.began), 1)))
}

func (t *Transport) lastHeard(id string) time.Time {
	since := t.contacts.of(id).since.Load()
	if since == 0 {
		return time.Time{}
	}
	return t.began.Add(time.Duration(since))
}

// Began is when this transport began to listen.
func (t *Transport) Began() time.Time { return t.began }

// Contact says how an agent was last reached.
func (t *Transport) Contact(id string) Contact {
	return t.contact(id, t.book.address(id))
}

func (t *Transport) contact(id, address string) Contact {
	c := Contact{ID: id, Address: address}
	if id != "" {
		c.Heard = t.lastHeard(id)
	}
	if last := t.contacts.lastFailure(address); last.err != nil && last.at.After(c.Heard) {
		var verdict *refusedError
		c.Err, c.Refused = last.err, errors.As(last.err, &verdict)
		c.Ours = c.Refused && verdict.ours
	}
	return c
}

// Contacts says so of every agent that was met and of every address where one
// should be, sorted by address.
func (t *Transport) Contacts() []Contact {
	var all []Contact
	for _, address := range t.addresses() {
		all = append(all, t.contact(t.book.idAt(address), address))
	}
	return all
}

// quiet returns the addresses of which nothing was heard lately, or which were
// dialled in vain.
func (t *Transport) quiet() []string {
	now := t.config.Clock.Now()
	return slices.DeleteFunc(t.addresses(), func(address string) bool {
		id := t.book.idAt(address)
		return id != "" && now.Sub(t.lastHeard(id)) < probeAfter && t.contacts.lastFailure(address).err == nil
	})
}

// dialledConn is a connection to an agent that notes what it hears.
type dialledConn struct {
	*tls.Conn
	transport *Transport
	heard     *heard

	peer, life string // of a stream of raft's
}

// Read implements net.Conn.
func (c *dialledConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.transport.hear(c.heard)
	}
	return c.transport.memory.Current(c.peer, c.life, n, err)
}
