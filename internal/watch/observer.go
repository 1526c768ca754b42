package watch

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
)

// Observation is one change that this agent has applied: its revision, table, kind,
// key, times, and the table's record. It is shared: do not modify it. A change that a
// restarted agent applies again from its log is observed again.
type Observation = state.Event

// Observer observes changes as they are applied, and loses those for which its
// channel has no room: use a watch to get all of them.
type Observer struct {
	id      uint64
	to      chan<- Observation
	filter  func(*Observation) bool
	dropped atomic.Uint64
}

// NewObserver returns an observer of the changes for which filter returns true; nil:
// all. They are sent to a channel, without waiting; without a channel filter is a
// hook. The filter runs on a goroutine of its own: a slow one makes observers late,
// so that they lose what the ring drops; a panic in it ends the process. Close the
// channel only after Unregister.
func NewObserver(to chan<- Observation, filter func(*Observation) bool) *Observer {
	return &Observer{id: rand.Uint64(), to: to, filter: filter}
}

// ID identifies the observer.
func (o *Observer) ID() uint64 { return o.id }

// Dropped returns the number of changes that it has lost: the channel had no room, or
// the ring had dropped them.
func (o *Observer) Dropped() uint64 { return o.dropped.Load() }

// Observers are the observers of one agent. The zero value is empty.
type Observers struct {
	dropped atomic.Uint64
	mu      sync.Mutex
	all     []*registration // is replaced, never changed
	changed chan struct{}   // closed when all changes; nil: nothing waits for that
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
	if o != nil && s.index(o) < 0 {
		s.replace(append(slices.Clone(s.all), &registration{Observer: o}))
	}
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
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// Dropped returns the number of changes that all observers together have lost.
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

// Run passes the events of a ring to the observers, until ctx or the ring ends. While
// there are none it costs nothing.
func (s *Observers) Run(ctx context.Context, ring *Ring) error {
	for {
		for all, changed := s.now(); len(all) == 0; all, changed = s.now() {
			select {
			case <-changed:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		if err := s.follow(ctx, ring); err != nil {
			return err
		}
	}
}

// follow reads from now on, while there are observers. If it falls behind the ring, or
// a snapshot replaces the history, it counts the lost changes.
func (s *Observers) follow(ctx context.Context, ring *Ring) error {
	for at := ring.Stats().Last; ; {
		reached, err := s.read(ctx, ring, at)
		var e *interrex.Error
		if !errors.As(err, &e) || e.FirstRevision == 0 {
			return err
		}
		s.lose(uint64(e.FirstRevision - reached))
		at = e.FirstRevision
	}
}

// read passes on the events after a revision, and returns how far it has read.
func (s *Observers) read(ctx context.Context, ring *Ring, since interrex.Revision) (reached interrex.Revision, err error) {
	w, err := ring.Watch(since, nil)
	if err != nil {
		return since, err
	}
	defer w.Close()
	for {
		events, err := w.Next(ctx)
		if err != nil {
			return w.Position(), err
		}
		for i := range events {
			all, _ := s.now()
			if len(all) == 0 {
				return w.Position(), nil
			}
			for _, r := range all {
				s.show(r, &events[i])
			}
		}
	}
}

// lose counts changes that no observer has seen.
func (s *Observers) lose(n uint64) {
	all, _ := s.now()
	for _, r := range all {
		r.dropped.Add(n)
		s.dropped.Add(n)
	}
}

// show passes one change to one observer.
func (s *Observers) show(r *registration, e *Observation) {
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
