package change

import (
	"slices"
	"strings"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/interest"
	"github.com/interrex/interrex/state"
)

// Query selects the changes to read.
type Query struct {
	Since  interrex.Revision // exclusive; 0: from the first that is kept
	Limit  int
	Bytes  int      // approximate limit, by Event.Size; one change may exceed it
	Tags   []string // any of them; empty: any change
	Kinds  []string // any of them; empty: all
	Prefix string   // of the key

	waited bool // changes before Since do not matter
}

// Matches reports whether the query selects a change.
func (q *Query) Matches(e *state.Event) bool {
	if len(q.Kinds) > 0 && !slices.Contains(q.Kinds, e.Kind) || !strings.HasPrefix(e.Key, q.Prefix) {
		return false
	}
	return len(q.Tags) == 0 || slices.ContainsFunc(tagsOf(e), func(tag string) bool { return slices.Contains(q.Tags, tag) })
}

// Scope returns what the changes that the query selects have in common.
func (q *Query) Scope() interest.Scope {
	return interest.Scope{Kinds: q.Kinds, Tags: q.Tags, Prefix: q.Prefix}
}

// tagsOf returns the tags of a change: only a user's has any.
func tagsOf(e *state.Event) []string {
	if u, is := e.Value.(*User); is {
		return u.Tags
	}
	return nil
}

// Page is the result of a read.
type Page struct {
	Items []*state.Event // shared: do not modify them
	// First and Last are the first and the last revision that is kept; 0 if there is
	// none.
	First, Last interrex.Revision
	// AtStart reports whether no kept change that matches precedes the page; it is
	// also false if maxLook changes were searched in vain. AtEnd reports whether none
	// follows it.
	AtStart, AtEnd bool
	// Revision is that of the feed at the read: if AtEnd, no change between the last
	// item, or since, and Revision matches.
	Revision interrex.Revision
}

// Read reads changes. The error is ErrCompacted, with the FirstRevision to
// request, if what follows since is no longer kept.
func (t *Table) Read(q Query) (Page, error) {
	t.mu.RLock()
	v := t.feed.view()
	lists, some := t.feed.index.of(&q)
	t.mu.RUnlock()
	return v.read(q, lists, some)
}

// maxLook is how many changes before since are searched for one that matches, so
// that the cost of a read does not grow with the feed.
const maxLook = 10_000

func (v view) read(q Query, lists lists, some bool) (Page, error) {
	p := Page{Revision: v.last, AtStart: true, AtEnd: true}
	if q.Since > 0 && q.Since < v.floor {
		return p, v.compacted(q.Since)
	}
	if oldest := v.first(); oldest != nil {
		p.First, p.Last = oldest.Revision, v.runs[len(v.runs)-1].last()
	}
	bytes := 0
	from := v.after(max(q.Since, v.floor))
	take := func(e *state.Event) bool {
		if !q.Matches(e) {
			return true
		}
		if len(p.Items) > 0 && e.Revision != p.Items[len(p.Items)-1].Revision && (len(p.Items) >= q.Limit || bytes >= q.Bytes) {
			p.AtEnd = false
			return false
		}
		p.Items = append(p.Items, e)
		bytes += e.Size
		return true
	}
	left := maxLook
	if q.waited {
		left = 0
	}
	earlier := func(e *state.Event) bool {
		left--
		return left < 0 || q.Matches(e)
	}
	if some {
		before, after := lists.split(max(q.Since, v.floor))
		after.forward(take)
		p.AtStart = q.Since == 0 || !before.any(earlier)
		return p, nil
	}
	v.forward(from, take)
	if q.Since > 0 {
		v.backward(from, func(e *state.Event) bool {
			p.AtStart = !earlier(e)
			return p.AtStart
		})
	}
	return p, nil
}

func (v view) compacted(since interrex.Revision) error {
	e := interrex.Errorf(interrex.ErrCompacted, "changes: what follows revision %d is no longer kept: request since %d", since, v.floor)
	e.FirstRevision = v.floor
	return e
}

// Get returns the change of a revision, the first if there are several; false if
// there is none, or it is no longer kept.
func (t *Table) Get(r interrex.Revision) (found *state.Event, ok bool) {
	t.mu.RLock()
	v := t.feed.view()
	t.mu.RUnlock()
	if r == 0 || r <= v.floor {
		return nil, false
	}
	v.forward(v.after(r-1), func(e *state.Event) bool {
		if e.Revision == r {
			found, ok = e, true
		}
		return false
	})
	return found, ok
}

// Behind returns about most events that follow a revision, in whole revisions; 0
// means from the first that is kept. It returns none if there is none yet, and false
// if what follows is no longer kept.
func (t *Table) Behind(r interrex.Revision, most int) (events []state.Event, kept bool) {
	t.mu.RLock()
	v := t.feed.view()
	t.mu.RUnlock()
	if r > 0 && r < v.floor {
		return nil, false
	}
	v.forward(v.after(max(r, v.floor)), func(e *state.Event) bool {
		if len(events) >= most && e.Revision != events[len(events)-1].Revision {
			return false
		}
		events = append(events, *e)
		return true
	})
	return events, true
}

// Floor returns the revision up to which changes are dropped.
func (t *Table) Floor() interrex.Revision {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.feed.floor
}

// Newest returns when the newest kept change was made, by its leader's wall clock; zero:
// none is kept.
func (t *Table) Newest() (at time.Time) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	v := t.feed.view()
	v.backward(place{run: len(v.runs)}, func(e *state.Event) bool { at = e.Wall; return false })
	return at
}

// Kept returns the number of kept changes, and their approximate size in bytes.
func (t *Table) Kept() (count int, bytes int64) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.feed.count, t.feed.bytes
}
