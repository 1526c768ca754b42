package watch

import (
	"errors"
	"math"
	"sort"

	"github.com/interrex/interrex"
)

// after returns a run of events behind a revision; none: there is none yet.
func (r *Ring) after(at interrex.Revision) Entries {
	i := sort.Search(len(r.segments), func(i int) bool { return r.segments[i].last() > at })
	if i == len(r.segments) {
		return Entries{}
	}
	s := &r.segments[i]
	first := sort.Search(len(s.events), func(i int) bool { return s.events[i].Revision > at })
	return Entries{ring: r, events: s.events[first:], cells: s.cells[first:]}
}

// enter lets one more watcher in.
func (r *Ring) enter(since interrex.Revision) (era uint64, err error) {
	floor := r.kept()
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.closed:
		return 0, closedError()
	case since < min(floor, r.floor) && (since > 0 || r.config.Backlog == nil):
		return 0, compacted(since, min(floor, r.floor))
	case r.watchers >= r.config.MaxWatchers:
		return 0, interrex.Errorf(interrex.KindOverloaded, "watch: %d watchers are the most that this agent takes", r.config.MaxWatchers)
	}
	r.watchers++
	return r.era, nil
}

// kept is the revision up to which history is gone from the backlog.
func (r *Ring) kept() interrex.Revision {
	if r.config.Backlog == nil {
		return math.MaxInt64
	}
	return r.config.Backlog.Floor()
}

// leave lets a watcher out.
func (r *Ring) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.watchers--
}

// look returns the events that follow a position of an era, or else the alarm to
// wait for.
func (r *Ring) look(era uint64, at interrex.Revision) (Entries, <-chan struct{}, error) {
	for caughtUp := false; ; {
		e, alarm, err := r.lookHere(era, at, caughtUp)
		if err != errBehind {
			return e, alarm, err
		}
		if e, err = r.backlog(at); err != nil || e.Len() > 0 {
			return e, nil, err
		}
		caughtUp = true // what comes from now on is in the ring, or asks for another look
	}
}

// lookHere is look in the ring alone. caughtUp: the backlog had nothing behind the
// position.
func (r *Ring) lookHere(era uint64, at interrex.Revision, caughtUp bool) (Entries, <-chan struct{}, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	switch {
	case r.closed:
		return Entries{}, nil, closedError()
	case era != r.era:
		e := interrex.Errorf(interrex.KindWatchClosed, "watch: a snapshot at revision %d took the place of history: list again", r.floor)
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

// errBehind says that the backlog is to be looked at.
var errBehind = errors.New("it is behind the ring")

// backlog returns events that follow a position at which the ring has none; none:
// there is none yet.
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
	e := interrex.Errorf(interrex.KindCompacted, "watch: history behind revision %d is gone: list again, or watch since %d", since, floor)
	e.FirstRevision = floor
	return e
}

func closedError() error {
	return interrex.Errorf(interrex.KindWatchClosed, "watch: closed")
}
