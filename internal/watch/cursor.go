package watch

import (
	"cmp"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/interest"
)

// Cursor is a position in a ring, for a reader that has many of them: it never
// blocks, and the reader moves it. It counts as a watcher. One goroutine uses it at a
// time.
type Cursor struct {
	ring   *Ring
	era    uint64
	at     interrex.Revision
	scope  interest.Scope
	group  *group // nil: it waits in a Front
	alarm  *alarm // that the last Read returned; nil if there were events
	closed bool
}

// Cursor returns a cursor after the revision since, which may be in the future. Its
// alarm is for the events in a scope. Unlike a watcher it may begin before a restore, in
// the history that was restored.
//
// Errors: ErrCompacted, with the FirstRevision to request, if what follows since is
// no longer kept; ErrOverloaded if there are too many watchers; ErrWatchClosed if
// the ring is closed.
func (r *Ring) Cursor(since interrex.Revision, s interest.Scope) (*Cursor, error) {
	return r.enter(since, s, true, false)
}

// Read returns events after the cursor's position, and does not move it: all events,
// in the scope or not. If there are none, it returns the alarm, which is closed when
// there may be some in the scope; the others until then are passed over.
//
// Errors: ErrCompacted when the cursor has fallen behind the ring;
// ErrWatchClosed after a Reset, or a Close of the cursor or the ring. Each is
// final.
func (c *Cursor) Read() (Entries, <-chan struct{}, error) {
	if c.closed {
		return Entries{}, nil, closedError()
	}
	c.at, c.alarm = c.Position(), nil
	e, err := c.ring.look(c.era, c.at, c.ring.mu.RLocker(), func() {
		c.group.asleep.Store(true)
		c.alarm = c.group.alarm
	})
	if c.alarm == nil {
		return e, nil, err
	}
	return e, c.alarm.closed, err
}

// Position returns the revision after which Read reads: nothing up to it, in the
// scope, is left to read.
func (c *Cursor) Position() interrex.Revision {
	if c.alarm == nil {
		return c.at
	}
	c.ring.mu.RLock()
	defer c.ring.mu.RUnlock()
	if c.alarm.next > 0 {
		return max(c.at, c.alarm.next-1)
	}
	return max(c.at, c.ring.newest())
}

// Move moves the cursor to a revision that it has read.
func (c *Cursor) Move(to interrex.Revision) { c.at, c.alarm = to, nil }

// Compare orders cursors of one ring: of two that are Beside each other, the earlier
// one reads, from the position of the later on, what that reads.
func (c *Cursor) Compare(d *Cursor) int {
	return cmp.Or(cmp.Compare(c.era, d.era), cmp.Compare(c.at, d.at))
}

// Beside reports whether both cursors read the same history: there was no Reset
// between their beginnings.
func (c *Cursor) Beside(d *Cursor) bool { return c.era == d.era }

// Close releases the cursor. It may be called again.
func (c *Cursor) Close() {
	if c.closed {
		return
	}
	c.closed = true
	c.release()
}

// release gives up the cursor's place in the ring.
func (c *Cursor) release() {
	c.ring.mu.Lock()
	defer c.ring.mu.Unlock()
	c.ring.watchers--
	if c.group != nil {
		c.ring.quit(c.group, c.scope)
	}
}
