package watch

import (
	"sort"

	"github.com/interrex/interrex"
)

// after gives a run of events behind a revision; none: there is none yet.
func (r *Ring) after(at interrex.Revision) Entries {
	i := sort.Search(len(r.segments), func(i int) bool { return r.segments[i].last() > at })
	if i == len(r.segments) {
		return Entries{}
	}
	s := &r.segments[i]
	first := sort.Search(len(s.events), func(i int) bool { return s.events[i].Revision > at })
	return Entries{ring: r, events: s.events[first:], cells: s.cells[first:]}
}

// enter lets one more watcher in. The lock is held.
func (r *Ring) enter(since interrex.Revision) error {
	switch {
	case r.closed:
		return closedError()
	case since < r.floor:
		return r.compacted(since)
	case r.watchers >= r.config.MaxWatchers:
		return interrex.Errorf(interrex.KindOverloaded, "watch: %d watchers are the most that this agent takes", r.config.MaxWatchers)
	}
	r.watchers++
	return nil
}

// leave lets a watcher out.
func (r *Ring) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.watchers--
}

// look gives the events that follow a position of an era, or else the alarm to
// wait for.
func (r *Ring) look(era uint64, at interrex.Revision) (Entries, <-chan struct{}, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	switch {
	case r.closed:
		return Entries{}, nil, closedError()
	case era != r.era:
		e := interrex.Errorf(interrex.KindWatchClosed, "watch: a snapshot at revision %d took the place of history: list again", r.floor)
		e.FirstRevision = r.floor
		return Entries{}, nil, e
	case at < r.floor:
		return Entries{}, nil, r.compacted(at)
	}
	if e := r.after(at); e.Len() > 0 {
		return e, nil, nil
	}
	r.asleep.Store(true)
	return Entries{}, r.alarm, nil
}

func (r *Ring) compacted(since interrex.Revision) error {
	e := interrex.Errorf(interrex.KindCompacted, "watch: history behind revision %d is gone: list again, or watch since %d", since, r.floor)
	e.FirstRevision = r.floor
	return e
}

func closedError() error {
	return interrex.Errorf(interrex.KindWatchClosed, "watch: closed")
}
