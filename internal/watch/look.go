package watch

import (
	"errors"
	"math"
	"sort"

	"github.com/interrex/interrex"
)

// after returns a run of events after a revision; none if there is none yet.
func (r *Ring) after(at interrex.Revision) Entries {
	i := sort.Search(len(r.segments), func(i int) bool { return r.segments[i].last() > at })
	if i == len(r.segments) {
		return Entries{}
	}
	s := &r.segments[i]
	first := sort.Search(len(s.events), func(i int) bool { return s.events[i].Revision > at })
	return Entries{ring: r, events: s.events[first:], cells: s.cells[first:]}
}

// enter adds a watcher.
func (r *Ring) enter(since interrex.Revision) (era uint64, err error) {
	floor := r.backlogFloor()
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.closed:
		return 0, closedError()
	case since < min(floor, r.floor) && (since > 0 || r.config.Backlog == nil):
		return 0, compacted(since, min(floor, r.floor))
	case r.watchers >= r.config.MaxWatchers:
		return 0, interrex.Errorf(interrex.ErrOverloaded, "watch: %d watchers are open, the limit of this agent", r.config.MaxWatchers)
	}
	r.watchers++
	return r.era, nil
}

// backlogFloor returns the revision up to which the backlog's history is dropped.
func (r *Ring) backlogFloor() interrex.Revision {
	if r.config.Backlog == nil {
		return math.MaxInt64
	}
	return r.config.Backlog.Floor()
}

// leave removes a watcher.
func (r *Ring) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.watchers--
}

// read returns the events after a position of an era, or the alarm to wait for.
func (r *Ring) read(era uint64, at interrex.Revision) (Entries, <-chan struct{}, error) {
	for caughtUp := false; ; {
		e, alarm, err := r.readRing(era, at, caughtUp)
		if err != errBehind {
			return e, alarm, err
		}
		if e, err = r.backlog(at); err != nil || e.Len() > 0 {
			return e, nil, err
		}
		caughtUp = true // later events are in the ring, or need another look
	}
}

// readRing is read in the ring only. caughtUp: the backlog had nothing after the
// position.
func (r *Ring) readRing(era uint64, at interrex.Revision, caughtUp bool) (Entries, <-chan struct{}, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	switch {
	case r.closed:
		return Entries{}, nil, closedError()
	case era != r.era:
		e := interrex.Errorf(interrex.ErrWatchClosed, "watch: a snapshot at revision %d replaced the history: list again", r.floor)
		e.FirstRevision = r.floor
		return Entries{}, nil, e
	case at < r.floor && r.config.Backlog == nil:
		return Entries{}, nil, compacted(at, r.floor)
	case at < r.floor && !caughtUp:
		return Entries{}, nil, errBehind
	}
	if e := r.after(at); e.Len() > 0 {
		if at < r.floor {
			return Entries{}, nil, errBehind
		}
		return e, nil, nil
	}
	r.asleep.Store(true)
	return Entries{}, r.alarm, nil
}

// errBehind means that the events must be read from the backlog.
var errBehind = errors.New("it is behind the ring")

// backlog returns events after a position that is behind the ring; none if there is
// none yet.
func (r *Ring) backlog(at interrex.Revision) (Entries, error) {
	events, kept := r.config.Backlog.Behind(at, batch)
	if !kept {
		return Entries{}, compacted(at, r.config.Backlog.Floor())
	}
	cells := make([]cell, len(events))
	e := Entries{ring: r, events: events}
	for i := range cells {
		e.cells = append(e.cells, &cells[i])
	}
	return e, nil
}

func compacted(since, floor interrex.Revision) error {
	e := interrex.Errorf(interrex.ErrCompacted, "watch: history after revision %d is gone: list again, or watch since %d", since, floor)
	e.FirstRevision = floor
	return e
}

func closedError() error {
	return interrex.Errorf(interrex.ErrWatchClosed, "watch: closed")
}
