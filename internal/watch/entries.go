package watch

import (
	"sort"
	"sync"
	"sync/atomic"

	"github.com/interrex/interrex/state"
)

// cell has the encodings of an event. It lives as long as the event is in the ring,
// or a reader has it.
type cell struct {
	made atomic.Pointer[encoding] // the newest; nil if there is none yet
	mu   sync.Mutex               // held while one is made
}

// encoding is one encoding of an event. It is immutable.
type encoding struct {
	by    uint32
	bytes []byte
	err   error
	older *encoding
}

// find returns the encoding by a method; nil if there is none yet.
func (c *cell) find(by uint32) *encoding {
	e := c.made.Load()
	for e != nil && e.by != by {
		e = e.older
	}
	return e
}

// Entries are a run of a ring's events, in the order of their revisions. They are
// shared by all readers of the ring, which must not modify them.
type Entries struct {
	ring   *Ring
	events []state.Event
	cells  []*cell
}

// Len returns the number of events.
func (e Entries) Len() int { return len(e.events) }

// Event returns one event.
func (e Entries) Event(i int) *state.Event { return &e.events[i] }

// Encoded returns the encoding of an event by a method. It is made by the first
// caller and shared by all readers of the ring: so encode must depend on the method
// and the event only, and the bytes must not be modified. They count towards the
// ring's limit.
func (e Entries) Encoded(i int, method uint32, encode func(*state.Event) ([]byte, error)) ([]byte, error) {
	c := e.cells[i]
	if made := c.find(method); made != nil {
		return made.bytes, made.err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	made := c.find(method)
	if made == nil {
		made = &encoding{by: method, older: c.made.Load()}
		made.bytes, made.err = encode(&e.events[i])
		c.made.Store(made)
		e.ring.charge(&e.events[i], len(made.bytes))
	}
	return made.bytes, made.err
}

// charge adds bytes to the size of an event, if the ring still has it.
func (r *Ring) charge(e *state.Event, bytes int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.Revision <= r.floor || e.Revision > r.last {
		return
	}
	i := sort.Search(len(r.segments), func(i int) bool { return r.segments[i].last() >= e.Revision })
	if i == len(r.segments) {
		return
	}
	r.segments[i].bytes += bytes
	r.bytes += bytes
	r.shrink()
}
