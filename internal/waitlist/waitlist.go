// Package waitlist owns a list of waiters, each for a value that a growing number
// must reach.
package waitlist

import "container/heap"

// List holds the waiters, the lowest target first. The zero value is empty. It is
// not safe for concurrent use.
type List struct{ waiters line }

// Waiter waits for a target.
type Waiter struct {
	// Done receives one error when the waiter is released; nil: its target was
	// reached.
	Done   chan error
	target uint64
	place  int // in the heap; negative: released
}

// Len returns the number of waiters.
func (l *List) Len() int { return len(l.waiters) }

// Join adds a waiter.
func (l *List) Join(target uint64) *Waiter {
	w := &Waiter{Done: make(chan error, 1), target: target}
	heap.Push(&l.waiters, w)
	return w
}

// Leave removes a waiter that no longer waits.
func (l *List) Leave(w *Waiter) {
	if w.place >= 0 {
		heap.Remove(&l.waiters, w.place)
	}
}

// Release releases the waiters whose target has been reached.
func (l *List) Release(reached uint64) {
	for len(l.waiters) > 0 && l.waiters[0].target <= reached {
		heap.Pop(&l.waiters).(*Waiter).Done <- nil
	}
}

// Fail releases all waiters with an error.
func (l *List) Fail(err error) {
	for len(l.waiters) > 0 {
		heap.Pop(&l.waiters).(*Waiter).Done <- err
	}
}

type line []*Waiter

// Len is part of heap.Interface.
func (l line) Len() int { return len(l) }

// Less is part of heap.Interface.
func (l line) Less(i, j int) bool { return l[i].target < l[j].target }

// Swap is part of heap.Interface.
func (l line) Swap(i, j int) {
	l[i], l[j] = l[j], l[i]
	l[i].place, l[j].place = i, j
}

// Push is part of heap.Interface.
func (l *line) Push(x any) {
	w := x.(*Waiter)
	w.place = len(*l)
	*l = append(*l, w)
}

// Pop is part of heap.Interface.
func (l *line) Pop() any {
	last := len(*l) - 1
	w := (*l)[last]
	(*l)[last] = nil
	*l = (*l)[:last]
	w.place = -1
	return w
}
