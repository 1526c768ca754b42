package watch

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/interest"
	"github.com/interrex/interrex/state"
)

// Observation is one change that this agent has applied, or an event of its raft. It is
// shared: do not modify it. A change that a restarted agent applies again from its log
// is observed again.
type Observation = state.Event

// maxPublished is how many events that are not in a ring wait for observers.
const maxPublished = 1024

// Observer observes changes and events as they occur, and loses those for which its
// channel has no room: use a watch to get all changes.
type Observer struct {
	id      uint64
	to      chan<- Observation
	filter  func(*Observation) bool
	dropped atomic.Uint64
}

// NewObserver returns an observer of the observations for which filter returns true; nil:
// all. They are sent to a channel, without waiting; without a channel filter is a
// hook. The filter runs on a goroutine of its own: a slow one makes observers late,
// so that they lose what the ring drops; a panic in it ends the process. Close the
// channel only after Unregister.
func NewObserver(to chan<- Observation, filter func(*Observation) bool) *Observer {
	return &Observer{id: rand.Uint64(), to: to, filter: filter}
}

// ID identifies the observer.
func (o *Observer) ID() uint64 { return o.id }

// Dropped returns the number of observations that it has lost: the channel had no room,
// or they were dropped before it was their turn.
func (o *Observer) Dropped() uint64 { return o.dropped.Load() }

// Observers are the observers of one agent. The zero value is empty.
type Observers struct {
	dropped atomic.Uint64

	mu        sync.Mutex
	all       []*registration // is replaced, never changed
	published []Observation   // not shown yet, and not in a ring
	changed   chan struct{}   // closed when one of these changes; nil: nothing waits for that
}

// registration is the registration of one observer.
type registration struct {
	*Observer
	mu   sync.Mutex // held while it sends
	gone bool
}

// Register adds an observer, which begins with the next change, unless it is
// registered already. It may be called by a filter.
func (s *Observers) Register(o *Observer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o == nil || s.index(o) >= 0 {
		return
	}
	if len(s.all) == 0 {
		s.published = nil
	}
	s.replace(append(slices.Clone(s.all), &registration{Observer: o}))
}

// Unregister removes an observer, if it is registered: nothing is sent to it
// afterwards. It may be called by a filter.
func (s *Observers) Unregister(o *Observer) {
	s.mu.Lock()
	i := s.index(o)
	if i < 0 {
		s.mu.Unlock()
		return
	}
	r := s.all[i]
	s.replace(slices.Delete(slices.Clone(s.all), i, i+1))
	s.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gone = true
}

func (s *Observers) index(o *Observer) int {
	return slices.IndexFunc(s.all, func(r *registration) bool { return r.Observer == o })
}

func (s *Observers) replace(all []*registration) {
	s.all = all
	s.wake()
}

// wake wakes what waits for a change. The lock is held.
func (s *Observers) wake() {
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// Publish passes an event that is not in a ring to the observers. It never waits: they
// lose what is too much.
func (s *Observers) Publish(e Observation) {
	if !s.publish(e) {
		s.lose(1)
	}
}

func (s *Observers) publish(e Observation) (kept bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case len(s.all) == 0:
		return true
	case len(s.published) == maxPublished:
		return false
	}
	s.published = append(s.published, e)
	s.wake()
	return true
}

// take returns what was published since the last call, and a channel that is closed
// when there is more.
func (s *Observers) take() ([]Observation, <-chan struct{}) {
	_, changed := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	events := s.published
	s.published = nil
	return events, changed
}

// Dropped returns the number of observations that all observers together have lost.
func (s *Observers) Dropped() uint64 { return s.dropped.Load() }

// now returns the observers, and a channel that is closed when they change.
func (s *Observers) now() ([]*registration, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return s.all, s.changed
}

// Run passes the events of a ring, with the values that value returns for them, and
// those that are published, to the observers, until ctx or the ring ends. While there
// are none it costs nothing.
func (s *Observers) Run(ctx context.Context, ring *Ring, value func(*state.Event) any) error {
	ctx, cancel := context.WithCancel(ctx)
	changes, ended := make(chan Observation), make(chan struct{})
	go func() { defer close(ended); s.pass(ctx, changes) }()
	defer func() { cancel(); <-ended }()
	for {
		for all, changed := s.now(); len(all) == 0; all, changed = s.now() {
			select {
			case <-changed:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		if err := s.follow(ctx, ring, func(e state.Event) {
			e.Value = value(&e)
			select {
			case changes <- e:
			case <-ctx.Done():
			}
		}); err != nil {
			return err
		}
	}
}

// pass passes on changes, and what is published: filters are called by one goroutine.
func (s *Observers) pass(ctx context.Context, changes <-chan Observation) {
	for {
		more := s.Flush()
		select {
		case e := <-changes:
			s.show(&e)
		case <-more:
		case <-ctx.Done():
			return
		}
	}
}

// Flush passes on what was published, and returns a channel that is closed when there is
// more. It is for Run, and for the time after Run.
func (s *Observers) Flush() (more <-chan struct{}) {
	events, more := s.take()
	for i := range events {
		s.show(&events[i])
	}
	return more
}

// follow reads from now on, while there are observers. If it falls behind the ring, or
// a snapshot replaces the history, it counts the lost changes.
func (s *Observers) follow(ctx context.Context, ring *Ring, show func(state.Event)) error {
	for at := ring.Stats().Last; ; {
		reached, err := s.read(ctx, ring, at, show)
		var e *interrex.Error
		if !errors.As(err, &e) || e.FirstRevision == 0 {
			return err
		}
		s.lose(uint64(e.FirstRevision - reached))
		at = e.FirstRevision
	}
}

// read shows the events after a revision, and returns how far it has read.
func (s *Observers) read(ctx context.Context, ring *Ring, since interrex.Revision, show func(state.Event)) (reached interrex.Revision, err error) {
	w, err := ring.Watch(since, interest.Scope{}, nil)
	if err != nil {
		return since, err
	}
	defer w.Close()
	for {
		events, err := w.Next(ctx)
		if err != nil {
			return w.Position(), err
		}
		for _, e := range events {
			if all, _ := s.now(); len(all) == 0 {
				return w.Position(), nil
			}
			show(e)
		}
	}
}

// lose counts observations that no observer has seen.
func (s *Observers) lose(n uint64) {
	all, _ := s.now()
	for _, r := range all {
		r.dropped.Add(n)
		s.dropped.Add(n)
	}
}

// show passes one observation to all observers.
func (s *Observers) show(e *Observation) {
	all, _ := s.now()
	for _, r := range all {
		s.showTo(r, e)
	}
}

func (s *Observers) showTo(r *registration, e *Observation) {
	if r.filter != nil && !r.filter(e) || r.to == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gone {
		return
	}
	select {
	case r.to <- *e:
	default:
		r.dropped.Add(1)
		s.dropped.Add(1)
	}
}
