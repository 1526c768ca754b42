package client

// fifo is a queue of events.
type fifo[E any] struct {
	events []*E
	first  int
}

func (q *fifo[E]) len() int { return len(q.events) - q.first }

func (q *fifo[E]) push(e *E) {
	if q.first > 0 && len(q.events) == cap(q.events) {
		left := copy(q.events, q.events[q.first:])
		clear(q.events[left:])
		q.events, q.first = q.events[:left], 0
	}
	q.events = append(q.events, e)
}

// pop returns nil if the queue is empty.
func (q *fifo[E]) pop() *E {
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
