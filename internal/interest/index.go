package interest

import (
	"cmp"
	"container/list"
	"slices"
	"strings"
)

// Index finds the readers of an event: an event that interests none of them costs a few
// look-ups, however many there are. The zero Index is empty. It is not safe for
// concurrent use.
type Index[R any] struct {
	readers  map[subject]*list.List // in the order in which they were added
	families map[family]*members
	skips    [MaxSkip + 1]int // number of subjects
}

// members are the subjects of one family.
type members struct {
	count   int
	lengths []length // of prefixes, the shortest first
}

// length is the number of prefixes of one length.
type length struct{ bytes, count int }

// Entry is a reader's place in an index.
type Entry struct{ places []place }

type place struct {
	subject
	at *list.Element
}

// Empty reports whether the index has no readers.
func (x *Index[R]) Empty() bool { return len(x.families) == 0 }

// Add adds a reader of the events in a scope.
func (x *Index[R]) Add(s Scope, r R) *Entry {
	if x.readers == nil {
		x.readers, x.families = map[subject]*list.List{}, map[family]*members{}
	}
	e := &Entry{}
	for _, part := range s.subjects() {
		all := x.readers[part]
		if all == nil {
			all = list.New()
			x.readers[part] = all
			x.count(part, 1)
		}
		e.places = append(e.places, place{part, all.PushBack(r)})
	}
	return e
}

// Remove removes a reader. It may be called again.
func (x *Index[R]) Remove(e *Entry) {
	for _, p := range e.places {
		all := x.readers[p.subject]
		if all.Remove(p.at); all.Len() == 0 {
			delete(x.readers, p.subject)
			x.count(p.subject, -1)
		}
	}
	e.places = nil
}

// count adds by to the number of subjects of a family.
func (x *Index[R]) count(s subject, by int) {
	x.skips[s.skip] += by
	f := x.families[s.family]
	if f == nil {
		f = &members{}
		x.families[s.family] = f
	}
	if s.by == byPrefix {
		f.measure(len(s.text), by)
	}
	if f.count += by; f.count == 0 {
		delete(x.families, s.family)
	}
}

func (f *members) measure(bytes, by int) {
	i, found := slices.BinarySearchFunc(f.lengths, bytes, func(l length, n int) int { return cmp.Compare(l.bytes, n) })
	if !found {
		f.lengths = slices.Insert(f.lengths, i, length{bytes: bytes})
	}
	if f.lengths[i].count += by; f.lengths[i].count == 0 {
		f.lengths = slices.Delete(f.lengths, i, i+1)
	}
}

// Each calls fn with each reader whose scope may cover an event, and with those whose
// scope has several of its tags more than once. The order changes only with the
// readers. fn must not change the index.
func (x *Index[R]) Each(e Event, fn func(R)) {
	for skip, n := range x.skips {
		if n > 0 {
			x.table(family{skip: skip}, e, fn)
		}
		if n > 0 && e.Table != 0 {
			x.table(family{table: e.Table, skip: skip}, e, fn)
		}
		_, e.Key, _ = strings.Cut(e.Key, "/")
	}
}

func (x *Index[R]) table(of family, e Event, fn func(R)) {
	x.family(of, e, fn)
	if of.kind = e.Kind; e.Kind != "" {
		x.family(of, e, fn)
	}
}

func (x *Index[R]) family(of family, e Event, fn func(R)) {
	f := x.families[of]
	if f == nil {
		return
	}
	x.each(subject{family: of}, fn)
	x.each(subject{of, byKey, e.Key}, fn)
	for _, l := range f.lengths {
		if l.bytes > len(e.Key) {
			break
		}
		x.each(subject{of, byPrefix, e.Key[:l.bytes]}, fn)
	}
	for _, tag := range e.Tags {
		x.each(subject{of, byTag, tag}, fn)
	}
}

func (x *Index[R]) each(s subject, fn func(R)) {
	all := x.readers[s]
	if all == nil {
		return
	}
	for at := all.Front(); at != nil; at = at.Next() {
		fn(at.Value.(R))
	}
}

// All returns every reader, those with several subjects more than once.
func (x *Index[R]) All() (all []R) {
	for s := range x.readers {
		x.each(s, func(r R) { all = append(all, r) })
	}
	return all
}
