package manifolds

import (
	"sync"

	"github.com/juju/worker/v3"
)

// slot holds a value that may be absent while its users run. Its worker has no inputs
// and lives as long as the engine. It provides an offerer for the producer, and a
// handle for the users, which continue while the value is withdrawn and offered again.
type slot[T any] struct {
	mu      sync.Mutex
	value   T
	present bool
	changed chan struct{} // closed when it is offered or withdrawn
}

// handle is the users' side of a slot.
type handle[T any] struct{ slot *slot[T] }

// offerer is the producer's side.
type offerer[T any] struct{ slot *slot[T] }

func startSlot[T any](u *unit) (worker.Worker, error) {
	s := &slot[T]{changed: make(chan struct{})}
	u.give(handle[T]{s}, offerer[T]{s})
	u.report = s.report
	return nil, nil
}

// slotNode is the line of a slot in the graph.
func slotNode[T any]() node { return node{start: startSlot[T]} }

// offer offers a value for as long as the unit runs.
func (o offerer[T]) offer(u *unit, value T) {
	o.slot.set(value, true)
	u.after(func() {
		var none T
		o.slot.set(none, false)
	})
}

func (s *slot[T]) set(value T, present bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.value, s.present = value, present
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *slot[T]) report() map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	return map[string]any{"offered": s.present}
}

// now returns what is offered; false: nothing is.
func (h handle[T]) now() (value T, present bool) {
	h.slot.mu.Lock()
	defer h.slot.mu.Unlock()
	return h.slot.value, h.slot.present
}

// next is now, with a channel that is closed when that has changed.
func (h handle[T]) next() (value T, present bool, changed <-chan struct{}) {
	h.slot.mu.Lock()
	defer h.slot.mu.Unlock()
	return h.slot.value, h.slot.present, h.slot.changed
}
