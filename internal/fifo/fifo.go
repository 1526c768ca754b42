// Package fifo owns an unbounded first-in, first-out queue whose memory follows its
// length.
package fifo

// Queue is a slice that is read from its front without moving the rest each time.
// The zero value is empty. It is not safe for concurrent use.
type Queue[T any] struct {
	items []T
	head  int
}

// Len returns the number of items.
func (q *Queue[T]) Len() int { return len(q.items) - q.head }

// First returns the first item. The queue must not be empty.
func (q *Queue[T]) First() T { return q.items[q.head] }

// Items returns the items, in order. The slice is valid until the next call.
func (q *Queue[T]) Items() []T { return q.items[q.head:] }

// Push adds an item at the end.
func (q *Queue[T]) Push(item T) {
	if q.head > 0 && len(q.items) == cap(q.items) && q.head >= len(q.items)/2 {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, item)
}

// Pop removes the first item and returns it. The queue must not be empty.
func (q *Queue[T]) Pop() T {
	var zero T
	item := q.items[q.head]
	q.items[q.head] = zero
	if q.head++; q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
	}
	return item
}

// Keep removes the items for which wanted returns false.
func (q *Queue[T]) Keep(wanted func(T) bool) {
	kept := q.items[:0]
	for _, item := range q.items[q.head:] {
		if wanted(item) {
			kept = append(kept, item)
		}
	}
	clear(q.items[len(kept):])
	q.items, q.head = kept, 0
}
