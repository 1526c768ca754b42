package change

import (
	"sort"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
)

// index finds the changes of a kind, or with a tag, without visiting the others.
// Its lists only grow at the end and shrink at the beginning: a list that was
// returned does not change.
type index struct {
	next  uint64 // place of the next change, counted from the first ever
	kinds map[string][]ref
	tags  map[string][]ref
}

// ref is a change and its place in the feed.
type ref struct {
	place uint64
	event *state.Event
}

func newIndex() index {
	return index{kinds: map[string][]ref{}, tags: map[string][]ref{}}
}

func (x *index) add(e *state.Event) {
	r := ref{x.next, e}
	x.next++
	x.kinds[e.Kind] = append(x.kinds[e.Kind], r)
	for _, tag := range tagsOf(e) {
		x.tags[tag] = append(x.tags[tag], r)
	}
}

// drop removes the oldest change.
func (x *index) drop(e *state.Event) {
	cut(x.kinds, e.Kind)
	for _, tag := range tagsOf(e) {
		cut(x.tags, tag)
	}
}

func cut(lists map[string][]ref, name string) {
	if lists[name] = lists[name][1:]; len(lists[name]) == 0 {
		delete(lists, name)
	}
}

// of returns lists that contain every match of a query, and maybe more; false if the
// query has neither tags nor kinds.
func (x *index) of(q *Query) (lists lists, some bool) {
	from, names := x.tags, q.Tags
	if len(names) == 0 {
		from, names = x.kinds, q.Kinds
	}
	for _, name := range names {
		if l := from[name]; len(l) > 0 {
			lists = append(lists, l[:len(l):len(l)])
		}
	}
	return lists, len(names) > 0
}

// lists are parts of the feed, each in the feed's order.
type lists [][]ref

// split cuts each list after a revision.
func (l lists) split(at interrex.Revision) (before, after lists) {
	for _, list := range l {
		i := sort.Search(len(list), func(i int) bool { return list[i].event.Revision > at })
		before, after = append(before, list[:i]), append(after, list[i:])
	}
	return before, after
}

// forward calls fn with each change once, the oldest first, until it returns
// false.
func (l lists) forward(fn func(*state.Event) bool) {
	for {
		var next *ref
		for _, list := range l {
			if len(list) > 0 && (next == nil || list[0].place < next.place) {
				next = &list[0]
			}
		}
		if next == nil || !fn(next.event) {
			return
		}
		for i, list := range l {
			for len(list) > 0 && list[0].place == next.place {
				list = list[1:]
			}
			l[i] = list
		}
	}
}

// any reports whether fn returns true for a change.
func (l lists) any(fn func(*state.Event) bool) bool {
	for _, list := range l {
		for i := len(list) - 1; i >= 0; i-- {
			if fn(list[i].event) {
				return true
			}
		}
	}
	return false
}
