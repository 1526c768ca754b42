package watch

import (
	"slices"
	"sync"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/interest"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/state"
)

// The default limits of a ring.
const (
	DefaultMaxEvents   = 65_536
	DefaultMaxBytes    = 64 << 20
	DefaultMaxWatchers = 65_536
)

// segments is the number of parts of a full ring. The oldest part is dropped as a
// whole, so a full ring keeps at least all but one part of its limits.
const segments = 64

// Config limits a ring. The zero Config is a good default.
type Config struct {
	MaxEvents int // events kept at most; 0: 65 536
	// MaxBytes is the maximum size of the events kept, by state.Event.Size and with
	// their encodings; 0: 64 MiB.
	MaxBytes    int
	MaxWatchers int // watchers at one time; 0: 65 536
	// Backlog has events that the ring has dropped, or has not seen: from before a
	// restart, or in a snapshot. nil: there is no backlog.
	Backlog Backlog
}

// Backlog is a longer history than a ring's. Its methods are called without the
// ring's lock.
type Backlog interface {
	// Behind returns about most events that follow a revision, in whole revisions; 0
	// means from the first that is kept. false: what follows is no longer kept.
	Behind(r interrex.Revision, most int) (events []state.Event, kept bool)
	// Floor returns the revision up to which history is dropped.
	Floor() interrex.Revision
}

// Ring keeps the newest events of a state, for any number of watchers. It is
// the state's Publisher. Publishing never waits for a watcher, and a watcher
// costs neither a goroutine nor memory that grows. An event wakes only the watchers
// whose scope covers it.
type Ring struct {
	config Config
	waking sync.WaitGroup

	mu       sync.RWMutex
	segments []segment // oldest first, none of them empty
	events   int
	bytes    int
	floor    interrex.Revision // history up to here is dropped
	last     interrex.Revision // history up to here has been published
	ended    interrex.Revision // the newest restore, which has ended the history before it; 0: none
	era      uint64            // counts the histories
	watchers int
	closed   bool

	sleepers interest.Index[*group] // by what each waits for
	groups   map[*group]struct{}
	shared   map[string]*group // those of equal scopes, by scope
	tick     *group            // wait until history has advanced; see UntilProgress
	ticked   progress
	called   []*group // whose alarm has to be closed
	ringing  bool     // a goroutine closes alarms
}

// segment is a run of events. Events in it are never modified: a reader takes a
// slice of it under the lock and reads that without.
type segment struct {
	events []state.Event
	cells  []*cell // of the events
	bytes  int
}

func (s segment) last() interrex.Revision { return s.events[len(s.events)-1].Revision }

// New returns an empty ring. A limit of zero or below means its default.
func New(c Config) *Ring {
	if c.MaxEvents <= 0 {
		c.MaxEvents = DefaultMaxEvents
	}
	if c.MaxBytes <= 0 {
		c.MaxBytes = DefaultMaxBytes
	}
	if c.MaxWatchers <= 0 {
		c.MaxWatchers = DefaultMaxWatchers
	}
	r := &Ring{config: c, groups: map[*group]struct{}{}, shared: map[string]*group{}}
	r.tick = r.newGroup()
	return r
}

var _ machine.Publisher = (*Ring)(nil)

// Publish adds the events of one entry, in the order of their revisions; last is the
// revision after it. All events of one revision must come in one call.
func (r *Ring) Publish(events []state.Event, last interrex.Revision) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	r.last = max(r.last, last)
	cells := make([]cell, len(events))
	for i := range events {
		r.add(&events[i], &cells[i])
		if !r.sleepers.Empty() {
			at := events[i].Revision
			r.sleepers.Each(Mark(&events[i]), func(g *group) { r.call(g, at) })
		}
	}
	r.shrink()
	r.progress(events)
}

// Reset empties the ring: it has not seen the history up to last. Watchers go on if
// there is a Backlog, which has that history; else each ends with ErrWatchClosed, and
// must list again. So they do in any case if a restore at the revision ended, which is
// not 0, has ended the history that they watch.
func (r *Ring) Reset(last, ended interrex.Revision) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	for g := range r.groups {
		r.call(g, r.newest()+1)
	}
	r.segments, r.events, r.bytes = nil, 0, 0
	r.floor, r.last = last, last
	if ended > r.ended || r.config.Backlog == nil {
		r.era++
	}
	r.ended = max(r.ended, ended)
}

// Close ends every watcher with ErrWatchClosed, and refuses new ones. It returns when
// the ring's goroutine has ended, and may be called again.
func (r *Ring) Close() {
	r.mu.Lock()
	if !r.closed {
		r.closed = true
		r.segments, r.events, r.bytes = nil, 0, 0
		for g := range r.groups {
			close(g.alarm.closed)
		}
	}
	r.mu.Unlock()
	r.waking.Wait()
}

// Stats are a ring's figures at one moment.
type Stats struct {
	Events   int
	Bytes    int
	Watchers int
	First    interrex.Revision // the lowest one after which a watch may begin
	Last     interrex.Revision
}

// MaxWatchers returns the maximum number of watchers at one time.
func (r *Ring) MaxWatchers() int { return r.config.MaxWatchers }

// Stats returns the ring's figures.
func (r *Ring) Stats() Stats {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return Stats{Events: r.events, Bytes: r.bytes, Watchers: r.watchers, First: r.floor, Last: r.last}
}

// add appends an event to the newest segment, or to a new one if that is full. The
// events of one revision stay together, so the ring begins and ends between two
// revisions.
func (r *Ring) add(e *state.Event, c *cell) {
	n := len(r.segments)
	if n == 0 || r.full(r.segments[n-1]) && r.segments[n-1].last() != e.Revision {
		r.segments = append(r.segments, segment{})
		n++
	}
	s := &r.segments[n-1]
	s.events = append(s.events, *e)
	s.cells = append(s.cells, c)
	s.bytes += e.Size
	r.events++
	r.bytes += e.Size
}

// newest returns the revision of the last event that was published.
func (r *Ring) newest() interrex.Revision {
	if n := len(r.segments); n > 0 {
		return r.segments[n-1].last()
	}
	return r.floor
}

func (r *Ring) full(s segment) bool {
	return len(s.events) >= max(1, r.config.MaxEvents/segments) || s.bytes >= max(1, r.config.MaxBytes/segments)
}

// shrink drops the oldest segments until the ring is within its limits, even the
// last one.
func (r *Ring) shrink() {
	dropped := 0
	for r.events > r.config.MaxEvents || r.bytes > r.config.MaxBytes {
		s := r.segments[dropped]
		r.events -= len(s.events)
		r.bytes -= s.bytes
		r.floor = s.last()
		dropped++
	}
	r.segments = slices.Delete(r.segments, 0, dropped)
}
