package watch

import (
	"sort"
	"sync"

	"github.com/interrex/interrex/state"
)

// cell keeps what an event was encoded as. It lives as long as the event is in
// the ring, or somebody reads it.
type cell struct {
	once  sync.Once
	bytes []byte
	err   error
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

// Event gives one event.
func (e Entries) Event(i int) *state.Event { return &e.events[i] }

// Encoded gives what an event is encoded as. It is encoded once, by whoever
// asks first, for all who read the ring; so all must encode the events of a
// table alike. The bytes count to what the ring keeps, and nobody writes to
// them.
func (e Entries) Encoded(i int, encode func(*state.Event) ([]byte, error)) ([]byte, error) {
	c := e.cells[i]
	c.once.Do(func() {
		c.bytes, c.err = encode(&e.events[i])
		e.ring.charge(&e.events[i], len(c.bytes))
	})
	return c.bytes, c.err
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
