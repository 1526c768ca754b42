package queue

import (
	"slices"
	"time"
)

// taking is a Take in progress: the room that is left, and what it has taken.
type taking struct {
	now        time.Time
	ops, bytes int
	out        []*Operation
	failures   []failure
}

// extendsFirst takes from both lanes what Take promises.
func (t *taking) extendsFirst(extends, normal *lane) {
	t.out = make([]*Operation, 0, min(t.ops, extends.ops+normal.ops))
	var keptOps, keptBytes int // for the others
	if normal.ops > 0 {
		keptOps, keptBytes = t.ops/4, t.bytes/4
	}
	t.ops -= keptOps
	t.bytes -= keptBytes
	t.from(extends)
	first := len(t.out)
	t.ops += keptOps
	t.bytes += keptBytes
	t.from(normal)
	others := len(t.out)
	t.from(extends)
	if more := t.out[others:]; len(more) > 0 && others > first {
		t.out = slices.Insert(t.out[:others], first, slices.Clone(more)...)
	}
}

// from takes what fits from a lane.
func (t *taking) from(l *lane) {
	for t.ops > 0 && l.ops > 0 {
		op := l.first()
		if err := op.unfit(t.now); err != nil {
			t.failures = append(t.failures, failure{l.pop(false), err})
			continue
		}
		size, count := op.Size(), op.Count()
		if (size > t.bytes || count > t.ops) && len(t.out) > 0 {
			break
		}
		t.out = append(t.out, l.pop(true))
		t.ops -= count
		t.bytes -= size
	}
}
