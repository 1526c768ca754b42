package agent

import "github.com/interrex/interrex/internal/watch"

// Observer sees changes as an agent applies them, and may lose some: see
// watch.Observer.
type Observer = watch.Observer

// Observers are the observers of one agent: see watch.Observers.
type Observers = watch.Observers

// Observation is one change that an agent has applied: see watch.Observation.
type Observation = watch.Observation

// NewObserver makes an observer of the changes that filter lets pass: see
// watch.NewObserver.
func NewObserver(to chan<- Observation, filter func(*Observation) bool) *Observer {
	return watch.NewObserver(to, filter)
}
