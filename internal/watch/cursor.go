package watch

import (
	"cmp"

	"github.com/interrex/interrex"
)

// Cursor is a position in a ring, for a reader that has many of them: it never
// blocks, and the reader moves it. It counts as a watcher. One goroutine uses it at a
// time.
type Cursor struct {
	ring   *Ring
	era    uint64
	at     interrex.Revision
	closed bool
}

// Cursor returns a cursor after the revision since, which may be in the future.
//
// Errors: ErrCompacted, with the FirstRevision to request, if what follows since is
// no longer kept; ErrOverloaded if there are too many watchers; ErrWatchClosed if
// the ring is closed.
func (r *Ring) Cursor(since interrex.Revision) (*Cursor, error) {
	era, err := r.enter(since)
	if err != nil {
		return nil, err
	}
	return &Cursor{ring: r, era: era, at: since}, nil
}

// Read returns events after the cursor's position, and does not move it. If there
// are none, it returns the alarm, which is closed when there may be some.
//
// Errors: ErrCompacted when the cursor has fallen behind the ring;
// ErrWatchClosed after a Reset, or a Close of the cursor or the ring. Each is
// final.
func (c *Cursor) Read() (Entries, <-chan struct{}, error) {
	if c.closed {
		return Entries{}, nil, closedError()
	}
	return c.ring.read(c.era, c.at)
}

// Position returns the revision after which Read reads.
func (c *Cursor) Position() interrex.Revision { return c.at }

// Move moves the cursor to a revision that it has read.
func (c *Cursor) Move(to interrex.Revision) { c.at = to }

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
	c.ring.leave()
}
