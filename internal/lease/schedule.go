package lease

import "github.com/interrex/interrex/state"

// schedule orders rows by a time, then by key: a heap with four children a
// node, in which every row knows its place. Its layout is not part of the
// replicated state; the order in which it returns rows is.
type schedule struct {
	slots []slot
}

// slot carries the time beside the row, so that moving through the heap rarely
// touches rows.
type slot struct {
	at state.Time
	l  *row
}

const children = 4

func (a slot) before(b slot) bool {
	return a.at < b.at || a.at == b.at && a.l.key < b.l.key
}

// top returns the first slot; false if there is none.
func (s *schedule) top() (slot, bool) {
	if len(s.slots) == 0 {
		return slot{}, false
	}
	return s.slots[0], true
}

func (s *schedule) push(at state.Time, l *row) {
	s.slots = append(s.slots, slot{at, l})
	s.up(len(s.slots) - 1)
}

// move changes the time of the row at index i.
func (s *schedule) move(i int, at state.Time) {
	s.slots[i].at = at
	s.settle(i)
}

func (s *schedule) remove(i int) {
	last := len(s.slots) - 1
	s.slots[i] = s.slots[last]
	s.slots[last] = slot{}
	s.slots = s.slots[:last]
	if i < last {
		s.settle(i)
	}
}

// settle restores the order after a change at place i.
func (s *schedule) settle(i int) {
	if i > 0 && s.slots[i].before(s.slots[(i-1)/children]) {
		s.up(i)
		return
	}
	s.down(i)
}

func (s *schedule) up(i int) {
	x := s.slots[i]
	for i > 0 {
		parent := (i - 1) / children
		if !x.before(s.slots[parent]) {
			break
		}
		s.set(i, s.slots[parent])
		i = parent
	}
	s.set(i, x)
}

func (s *schedule) down(i int) {
	x := s.slots[i]
	for {
		first := i*children + 1
		if first >= len(s.slots) {
			break
		}
		least := first
		for c := first + 1; c < min(first+children, len(s.slots)); c++ {
			if s.slots[c].before(s.slots[least]) {
				least = c
			}
		}
		if !s.slots[least].before(x) {
			break
		}
		s.set(i, s.slots[least])
		i = least
	}
	s.set(i, x)
}

func (s *schedule) set(i int, x slot) {
	s.slots[i] = x
	x.l.place = int32(i)
}

// build restores the order of all slots, after appends to slots.
func (s *schedule) build() {
	for i, x := range s.slots {
		x.l.place = int32(i)
	}
	for i := (len(s.slots) - 2) / children; i >= 0 && len(s.slots) > 1; i-- {
		s.down(i)
	}
}
