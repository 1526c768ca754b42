package watch

import (
	"errors"
	"math"
	"sort"
	"sync"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/interest"
	"github.com/interrex/interrex/internal/machine"
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

// enter adds a watcher. One that watches must not begin before a restore: it would miss
// what that has replaced.
func (r *Ring) enter(since interrex.Revision, s interest.Scope, waits, watches bool) (*Cursor, error) {
	floor := r.backlogFloor()
	r.mu.Lock()
	defer r.mu.Unlock()
	replaced := machine.RestoredFile{To: r.ended}.Continues(since)
	switch {
	case r.closed:
		return nil, closedError()
	case watches && replaced != nil:
		return nil, replaced
	case since < min(floor, r.floor) && (since > 0 || r.config.Backlog == nil):
		return nil, compacted(since, min(floor, r.floor))
	case r.watchers >= r.config.MaxWatchers:
		return nil, interrex.Errorf(interrex.ErrOverloaded, "watch: %d watchers are open, the limit of this agent", r.config.MaxWatchers)
	}
	r.watchers++
	c := &Cursor{ring: r, era: r.era, at: since, scope: s}
	if waits {
		c.group = r.join(s)
	}
	return c, nil
}

// backlogFloor returns the revision up to which the backlog's history is dropped.
func (r *Ring) backlogFloor() interrex.Revision {
	if r.config.Backlog == nil {
		return math.MaxInt64
	}
	return r.config.Backlog.Floor()
}

// look returns the events after a position of an era. If there are none it calls idle,
// while none can be published; lock is the ring's, for reading or writing, as idle
// needs it.
func (r *Ring) look(era uint64, at interrex.Revision, lock sync.Locker, idle func()) (Entries, error) {
	for empty := noFloor; ; {
		e, floor, err := r.lookInRing(era, at, empty, lock, idle)
		if err != errBehind {
			return e, err
		}
		if e, err = r.backlog(at); err != nil || e.Len() > 0 {
			return e, err
		}
		empty = floor // later events are in the ring, or need another look
	}
}

// noFloor is above every floor.
const noFloor = interrex.Revision(math.MaxUint64)

// lookInRing is look in the ring only. empty is a floor of the ring: the backlog had
// nothing between the position and that.
func (r *Ring) lookInRing(era uint64, at, empty interrex.Revision, lock sync.Locker, idle func()) (e Entries, floor interrex.Revision, err error) {
	lock.Lock()
	defer lock.Unlock()
	switch {
	case r.closed:
		return Entries{}, 0, closedError()
	case era != r.era:
		e := interrex.Errorf(interrex.ErrWatchClosed, "watch: a snapshot at revision %d replaced the history: list again", r.floor)
		e.FirstRevision = r.floor
		return Entries{}, 0, e
	case at < r.floor && r.config.Backlog == nil:
		return Entries{}, 0, compacted(at, r.floor)
	case at < r.floor && empty != r.floor:
		return Entries{}, r.floor, errBehind
	}
	if e = r.after(at); e.Len() == 0 {
		idle()
	}
	return e, r.floor, nil
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
