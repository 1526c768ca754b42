package watch

import (
	"cmp"

	"github.com/interrex/interrex"
)

// Cursor is a position in a ring for a reader that has many of them: it never
// sleeps, and the reader moves it. It counts as a watcher. One goroutine uses
// it at a time.
type Cursor struct {
	ring   *Ring
	era    uint64
	at     interrex.Revision
	closed bool
}

// Cursor begins behind the revision since, which may lie in the future.
//
// Errors: KindCompacted, with the FirstRevision that can still be asked for,
// when what follows since is not kept any more; KindOverloaded when there are
// too many watchers; KindWatchClosed when the ring is closed.
func (r *Ring) Cursor(since interrex.Revision) (*Cursor, error) {
	era, err := r.enter(since)
	if err != nil {
		return nil, err
	}
	return &Cursor{ring: r, era: era, at: since}, nil
}

// Read returns events that follow the cursor's position, which stays where it is.
// Where there are none, it gives the alarm that is closed when there may be
// some.
//
// Errors: KindCompacted when the cursor has fallen behind the ring;
// KindWatchClosed after a Reset, or a Close of the cursor or the ring. Each is
// final.
func (c *Cursor) Read() (Entries, <-chan struct{}, error) {
	if c.closed {
		return Entries{}, nil, closedError()
	}
	return c.ring.look(c.era, c.at)
}

// Position is the revision behind which Read reads.
func (c *Cursor) Position() interrex.Revision { return c.at }

// Move takes the cursor on to a revision that it has read.
func (c *Cursor) Move(to interrex.Revision) { c.at = to }

// Compare orders cursors of one ring: what is read at one is, from its position
// on, what is read at every later one for which Beside holds.
func (c *Cursor) Compare(d *Cursor) int {
	return cmp.Or(cmp.Compare(c.era, d.era), cmp.Compare(c.at, d.at))
}

// Beside reports whether both cursors read the same history: no Reset lies
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
