package queue

// lane is operations of one priority, first in, first out, within limits of its
// own, and behind them those that are held back until there is room. The queue's
// lock guards it.
type lane struct {
	waiting fifo[*Operation]
	bytes   int
	held    fifo[heldBack]
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
	return l.waiting.len() < Capacity && l.bytes+op.Size() <= laneBytes
}

func (l *lane) push(op *Operation) {
	l.waiting.push(op)
	l.bytes += op.Size()
}

func (l *lane) pop() *Operation {
	op := l.waiting.pop()
	l.bytes -= op.Size()
	return op
}

// admit lets in what is held back, in order, as far as there is room.
func (l *lane) admit() {
	for l.held.len() > 0 && l.hasRoom(l.held.first().op) {
		h := l.held.pop()
		l.push(h.op)
		h.caller.release()
	}
}
