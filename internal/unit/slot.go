package unit

import (
	"sync"

	"github.com/juju/worker/v3"
)

// slot holds a value that may be absent while its users run: they continue while it is
// withdrawn and offered again. Its worker has no inputs and lives as long as the engine.
type slot[T any] struct {
	mu      sync.Mutex
	value   T
	present bool
	changed chan struct{} // closed when it is offered or withdrawn
}

// Handle is the users' side of a slot.
type Handle[T any] struct{ slot *slot[T] }

// Offerer is the producer's side.
type Offerer[T any] struct{ slot *slot[T] }

func startSlot[T any](u *Unit) (worker.Worker, error) {
	s := &slot[T]{changed: make(chan struct{})}
	u.Give(Handle[T]{s}, Offerer[T]{s})
	u.ReportBy(s.report)
	return nil, nil
}

// Slot is the line of a slot in the graph. It provides an Offerer for the producer of
// what is in it, and a Handle for the users.
func Slot[T any]() Node { return Node{Start: startSlot[T]} }

// Offer offers a value for as long as the unit runs.
func (o Offerer[T]) Offer(u *Unit, value T) {
	o.slot.set(value, true)
	u.After(func() {
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

// Now returns what is offered; false: nothing is.
func (h Handle[T]) Now() (value T, present bool) {
	h.slot.mu.Lock()
	defer h.slot.mu.Unlock()
	return h.slot.value, h.slot.present
}

// Next is Now, with a channel that is closed when that has changed.
func (h Handle[T]) Next() (value T, present bool, changed <-chan struct{}) {
	h.slot.mu.Lock()
	defer h.slot.mu.Unlock()
	return h.slot.value, h.slot.present, h.slot.changed
}
