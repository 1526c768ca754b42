package client

import "github.com/interrex/interrex"

// fifo is a queue of events.
type fifo struct {
	events []*interrex.LeaseEvent
	first  int
}

func (q *fifo) len() int { return len(q.events) - q.first }

func (q *fifo) push(e *interrex.LeaseEvent) {
	if q.first > 0 && len(q.events) == cap(q.events) {
		left := copy(q.events, q.events[q.first:])
		clear(q.events[left:])
		q.events, q.first = q.events[:left], 0
	}
	q.events = append(q.events, e)
}

// pop returns nil when there is none.
func (q *fifo) pop() *interrex.LeaseEvent {
	if q.len() == 0 {
		return nil
	}
	e := q.events[q.first]
	q.events[q.first] = nil
	if q.first++; q.first == len(q.events) {
		q.events, q.first = q.events[:0], 0
	}
	return e
}
