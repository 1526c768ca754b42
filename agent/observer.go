package agent

import (
	"github.com/interrex/interrex/internal/watch"
	"github.com/interrex/interrex/state"
)

// Observation is one change that an agent has applied: its revision, table, kind,
// key, times, and the table's own record. It is shared: nobody may write to it.
// A restarted agent applies part of its log again, which is observed again.
type Observation = state.Event

// Observer sees changes as an agent applies them, and loses those for which its
// channel has no room: a watch sees them all.
type Observer struct{ inner *watch.Observer }

// NewObserver returns an observer of the changes that filter accepts; nil: of all.
// They are sent to a channel, without waiting; without a channel the filter is a
// hook. It runs on a goroutine beside those that apply: one that is slow makes
// observers late, and lose what is no longer in memory; one that panics ends the
// process. Close a channel only after Unregister.
func NewObserver(to chan<- Observation, filter func(*Observation) bool) *Observer {
	return &Observer{watch.NewObserver(to, filter)}
}

// ID is unique to the observer.
func (o *Observer) ID() uint64 { return o.inner.ID() }

// Dropped returns the number of changes that the observer has lost.
func (o *Observer) Dropped() uint64 { return o.inner.Dropped() }

// Observers are the observers of one agent. The zero value has none. Its methods
// may be called by several goroutines, and by a filter.
type Observers struct{ inner watch.Observers }

// Register shows an observer all changes from the next one on. Registering it
// again has no effect.
func (s *Observers) Register(o *Observer) {
	if o != nil {
		s.inner.Register(o.inner)
	}
}

// Unregister ends that: nothing is sent to the observer's channel after it
// returns. It has no effect on an observer that is not registered.
func (s *Observers) Unregister(o *Observer) {
	if o != nil {
		s.inner.Unregister(o.inner)
	}
}

// Dropped returns the number of changes that all observers together have lost.
func (s *Observers) Dropped() uint64 { return s.inner.Dropped() }
