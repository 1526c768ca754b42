package queue

import (
	"github.com/interrex/interrex/internal/fifo"
)

// lane is one line of operations, first in, first out, within its own limits,
// and behind it what is held back until there is room. The queue's lock guards
// it.
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

func (l *lane) push(op *Operation) {
	l.waiting.Push(op)
	l.bytes += op.Size()
}

func (l *lane) pop() *Operation {
	op := l.waiting.Pop()
	l.bytes -= op.Size()
	return op
}

// hasRoom reports whether op fits. A single operation always fits an empty
// lane, or a large one would wait for ever.
func (l *lane) hasRoom(op *Operation, c *Config) bool {
	n := l.waiting.Len()
	return n == 0 || n < c.Capacity && l.bytes+op.Size() <= c.Bytes
}

// admit lets in what is held back, in order, as far as there is room.
func (l *lane) admit(c *Config) {
	for l.held.Len() > 0 && l.hasRoom(l.held.First().op, c) {
		h := l.held.Pop()
		l.push(h.op)
		h.caller.release()
	}
}
