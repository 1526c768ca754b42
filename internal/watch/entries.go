package watch

import (
	"sort"
	"sync"
	"sync/atomic"

	"github.com/interrex/interrex/state"
)

// cell keeps what an event was encoded as. It lives as long as the event is in
// the ring, or somebody reads it.
type cell struct {
	made atomic.Pointer[encoding] // the newest; nil: none yet
	mu   sync.Mutex               // held while one is made
}

// encoding is one encoding of an event. It is never written again.
type encoding struct {
	by    uint32
	bytes []byte
	err   error
	older *encoding
}

// find returns the encoding by somebody; nil: there is none yet.
func (c *cell) find(by uint32) *encoding {
	e := c.made.Load()
	for e != nil && e.by != by {
		e = e.older
	}
	return e
}

// Entries are a run of a ring's events, in the order of their revisions. They
// are shared with everybody who reads the ring: nobody writes to them.
type Entries struct {
	ring   *Ring
	events []state.Event
	cells  []*cell
}

// Len is how many events there are.
func (e Entries) Len() int { return len(e.events) }

// Event returns one event.
func (e Entries) Event(i int) *state.Event { return &e.events[i] }

// Encoded returns what an event is encoded as by a method. It is encoded once,
// by whoever asks first, for all who read the ring: so encode must depend on
// the method and the event only. The bytes count to what the ring keeps, and
// nobody writes to them.
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

// charge counts bytes that an event has grown by, if it is kept still.
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
