package watch

import (
	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/interest"
)

// Front is where the cursors of one reader wait together once they have read
// everything: it reads for all of them, and is woken by an event in the scope of one of
// them. One goroutine uses it and its cursors.
type Front struct {
	cursor Cursor
	scopes map[string]*scoped // of the cursors that wait
	waits  int
}

// scoped is the place of a scope in the ring's index.
type scoped struct {
	entry *interest.Entry
	waits int
}

// Front returns a front without cursors. It does not count as a watcher itself.
func (r *Ring) Front() *Front {
	r.mu.Lock()
	defer r.mu.Unlock()
	return &Front{cursor: Cursor{ring: r, era: r.era, at: r.newest(), group: r.newGroup()}, scopes: map[string]*scoped{}}
}

// Follower returns a cursor after the revision since, which waits in a Front for the
// events in a scope. The errors are those of Cursor.
func (r *Ring) Follower(since interrex.Revision, s interest.Scope) (*Cursor, error) {
	return r.enter(since, s, false, true)
}

// Join returns events after the position of a follower; if there are none, the follower
// waits in the front from here on. The errors are those of Read.
func (f *Front) Join(c *Cursor) (Entries, error) {
	if c.closed {
		return Entries{}, closedError()
	}
	return c.ring.look(c.era, c.at, &c.ring.mu, func() {
		name := c.scope.String()
		s := f.scopes[name]
		if s == nil {
			s = &scoped{entry: c.ring.sleepers.Add(c.scope, f.cursor.group)}
			f.scopes[name] = s
		}
		s.waits++
		f.waits++
	})
}

// Leave ends the waiting of a follower, which has read what it was sent.
func (f *Front) Leave(c *Cursor) {
	name := c.scope.String()
	s := f.scopes[name]
	f.waits--
	if s.waits--; s.waits > 0 {
		return
	}
	delete(f.scopes, name)
	c.ring.mu.Lock()
	defer c.ring.mu.Unlock()
	c.ring.sleepers.Remove(s.entry)
}

// Waits returns the number of followers that wait.
func (f *Front) Waits() int { return f.waits }

// Read returns events that those who wait have not been sent, some of which may be
// before the position of one that joined late; or the alarm. The errors are those of
// Cursor.Read.
func (f *Front) Read() (Entries, <-chan struct{}, error) { return f.cursor.Read() }

// Move moves the front to a revision that it has read.
func (f *Front) Move(to interrex.Revision) { f.cursor.Move(to) }

// Close ends the waiting of all followers.
func (f *Front) Close() {
	r := f.cursor.ring
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range f.scopes {
		r.sleepers.Remove(s.entry)
	}
	delete(r.groups, f.cursor.group)
}
