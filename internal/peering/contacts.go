package peering

import (
	"crypto/tls"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Contact describes the contact with an agent, or with an address where one should
// be.
type Contact struct {
	ID      string // empty: no agent has been met at the address yet
	Address string // empty: it is not known
	// Heard is when this agent last received anything from it, over any connection;
	// zero: never.
	Heard time.Time
	// Err is why the latest attempt to reach it failed, if nothing has been received
	// from it since.
	Err error
	// Refused is whether the attempt failed because an agent refused it, and not
	// because of the network; Ours is whether that agent is this one.
	Refused, Ours bool
	// Removed is whether this agent refused it because it was removed from the cluster.
	Removed bool
}

// contacts records when something was last received from each agent, and how the
// latest attempt at each address ended.
type contacts struct {
	mu     sync.Mutex
	reads  map[string]*lastRead // by ID
	failed map[string]attempt   // by address
}

// attempt is a dial that has failed.
type attempt struct {
	at  time.Time
	err error
}

// lastRead is when something was last read from an agent, in nanoseconds since the
// transport began; 0: never. Each of its connections updates it at each read.
type lastRead struct{ since atomic.Int64 }

// of returns an agent's last read.
func (c *contacts) of(id string) *lastRead {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.reads[id]
	if h == nil {
		h = new(lastRead)
		c.forgetOne()
		c.reads[id] = h
	}
	return h
}

// forgetOne makes room: it forgets the agent with the oldest last read.
func (c *contacts) forgetOne() {
	if len(c.reads) < maxKnown {
		return
	}
	oldest := ""
	for id, h := range c.reads {
		if oldest == "" || h.since.Load() < c.reads[oldest].since.Load() {
			oldest = id
		}
	}
	delete(c.reads, oldest)
}

// note records how a dial of an address ended.
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

// noteRead records that something from an agent has arrived now.
func (t *Transport) noteRead(h *lastRead) {
	h.since.Store(int64(max(t.config.Clock.Now().Sub(t.began), 1)))
}

// since returns how long ago something was read from an agent.
func (t *Transport) since(h *lastRead) time.Duration {
	return t.config.Clock.Now().Sub(t.began) - time.Duration(h.since.Load())
}

func (t *Transport) lastHeard(id string) time.Time {
	since := t.contacts.of(id).since.Load()
	if since == 0 {
		return time.Time{}
	}
	return t.began.Add(time.Duration(since))
}

// Began returns when this transport began to listen.
func (t *Transport) Began() time.Time { return t.began }

// Contact describes the contact with an agent.
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
		if c.Refused {
			c.Ours, c.Removed = verdict.ours, verdict.removed
		}
	}
	return c
}

// Contacts describes the contact with every agent that was met and with every
// address where one should be, sorted by address, after those that were refused
// because an agent of their ID is connected already.
func (t *Transport) Contacts() []Contact {
	all := t.present.refused(t.config.Clock.Now())
	for _, address := range t.addresses() {
		all = append(all, t.contact(t.book.idAt(address), address))
	}
	return all
}

// quiet returns the addresses from which nothing was received lately, or that could
// not be dialled.
func (t *Transport) quiet() []string {
	now := t.config.Clock.Now()
	return slices.DeleteFunc(t.addresses(), func(address string) bool {
		id := t.book.idAt(address)
		return id != "" && now.Sub(t.lastHeard(id)) < probeAfter && t.contacts.lastFailure(address).err == nil
	})
}

// dialledConn is a connection to an agent that records its reads.
type dialledConn struct {
	*tls.Conn
	transport *Transport
	last      *lastRead
	tie       *tie
	absent    func() // when it is closed

	peer, life string // set for a stream of raft's
}

// Read implements net.Conn.
func (c *dialledConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.transport.noteRead(c.last)
		c.transport.noteRead(&c.tie.heard)
	}
	return c.transport.memory.Current(c.peer, c.life, n, err)
}

// Close implements net.Conn.
func (c *dialledConn) Close() error {
	c.absent()
	return c.Conn.Close()
}
