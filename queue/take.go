package queue

import "time"

// taking is a Take in progress: the room that is left, and what it has taken.
type taking struct {
	now        time.Time
	ops, bytes int
	out        []*Operation
	failures   []failure
}

// from takes what fits from a lane.
func (t *taking) from(l *lane) {
	for t.ops > 0 && l.waiting.Len() > 0 {
		op := l.waiting.First()
		if err := op.unfit(t.now); err != nil {
			t.failures = append(t.failures, failure{l.pop(), err})
			continue
		}
		size, count := op.Size(), op.Count()
		if (size > t.bytes || count > t.ops) && len(t.out) > 0 {
			break
		}
		t.out = append(t.out, l.pop())
		t.ops -= count
		t.bytes -= size
	}
}
