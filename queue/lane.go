package queue

import "github.com/interrex/interrex/internal/fifo"

// lane is the operations of one priority, first in, first out, with its own limits,
// and behind them those that are held back until there is room. It is guarded by the
// queue's lock.
type lane struct {
	waiting fifo.Queue[*Operation]
	bytes   int
	held    fifo.Queue[heldBack]
}

// heldBack is an operation whose caller is held back.
type heldBack struct {
	op     *Operation
	caller *caller
}

// caller is one call of Enqueue that is held back.
type caller struct {
	left int           // operations held back
	free chan struct{} // closed when none is left
}

func (c *caller) release() {
	if c.left--; c.left == 0 {
		close(c.free)
	}
}

// hasRoom reports whether op fits. The largest operation fits an empty lane.
func (l *lane) hasRoom(op *Operation) bool {
	return l.waiting.Len() < Capacity && l.bytes+op.Size() <= laneBytes
}

func (l *lane) push(op *Operation) {
	l.waiting.Push(op)
	l.bytes += op.Size()
}

func (l *lane) pop() *Operation {
	op := l.waiting.Pop()
	l.bytes -= op.Size()
	return op
}

// admit moves operations that are held back into the lane, in order, while there is
// room.
func (l *lane) admit() {
	for l.held.Len() > 0 && l.hasRoom(l.held.First().op) {
		h := l.held.Pop()
		l.push(h.op)
		h.caller.release()
	}
}
