package agent

import (
	"github.com/interrex/interrex/internal/watch"
	"github.com/interrex/interrex/state"
)

// Observation is one change that an agent has applied, or an event of its raft. It is
// shared: nobody may write to it.
//
// A change has its revision, table, kind, key and times. Its value is what it has made,
// or ended: an interrex.Lease, Resource, Member, WebhookState or FSMEvent; for
// interrex.UserChange an interrex.Change; and for an embedder's table its own record. A
// restarted agent applies part of its log again, which is observed again.
//
// An event of raft has a kind such as interrex.RaftLeaderChanged, an interrex.RaftEvent
// as its value, and this agent's time in Wall.
type Observation = state.Event

// Observer sees changes and events of raft as they occur, and loses those for which its
// channel has no room: a watch sees all changes.
type Observer struct{ inner *watch.Observer }

// NewObserver returns an observer of the observations that filter accepts; nil: of all.
// They are sent to a channel, without waiting; without a channel the filter is a
// hook. It is called once at a time, beside what applies: one that is slow makes
// observers late, and lose what is no longer in memory; one that panics ends the
// process. Close a channel only after Unregister.
func NewObserver(to chan<- Observation, filter func(*Observation) bool) *Observer {
	return &Observer{watch.NewObserver(to, filter)}
}

// ID is unique to the observer.
func (o *Observer) ID() uint64 { return o.inner.ID() }

// Dropped returns the number of observations that it has lost.
func (o *Observer) Dropped() uint64 { return o.inner.Dropped() }

// Observers are the observers of one agent. The zero value has none. Its methods
// may be called by several goroutines, and by a filter.
type Observers struct{ inner watch.Observers }

// Register shows an observer everything from the next change or event on. Registering it
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

// Dropped returns the number of observations that all observers together have lost.
func (s *Observers) Dropped() uint64 { return s.inner.Dropped() }
