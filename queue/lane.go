package queue

import "github.com/interrex/interrex/internal/fifo"

// lane is operations of one priority, first in, first out, within limits of its
// own, and behind them those that are held back until there is room. The queue's
// lock guards it.
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
	free chan struct{} // closed at the last one
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

// admit lets in what is held back, in order, as far as there is room.
func (l *lane) admit() {
	for l.held.Len() > 0 && l.hasRoom(l.held.First().op) {
		h := l.held.Pop()
		l.push(h.op)
		h.caller.release()
	}
}
