package agent

import (
	"github.com/interrex/interrex/manifolds"
	"github.com/interrex/interrex/state"
)

// Observer sees changes as an agent applies them, and may lose some: see
// manifolds.Observer.
type Observer = manifolds.Observer

// Observers are the observers of one agent: see manifolds.Observers.
type Observers = manifolds.Observers

// Observation is one change that an agent has applied: its revision, table, kind,
// key, times, and the table's own record. It is shared: nobody may write to it.
// A restarted agent applies part of its log again, which is observed again.
type Observation = state.Event

// NewObserver returns an observer of the changes that filter accepts: see
// manifolds.NewObserver.
func NewObserver(to chan<- Observation, filter func(*Observation) bool) *Observer {
	return manifolds.NewObserver(to, filter)
}
