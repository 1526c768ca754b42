package queue

// lane is one line of operations, first in, first out, within its own limits,
// and behind it what is held back until there is room. The queue's lock guards
// it.
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

func (l *lane) push(op *Operation) {
	l.waiting.push(op)
	l.bytes += op.Size()
}

func (l *lane) pop() *Operation {
	op := l.waiting.pop()
	l.bytes -= op.Size()
	return op
}

// hasRoom reports whether op fits. A single operation always fits an empty
// lane, or a large one would wait for ever.
func (l *lane) hasRoom(op *Operation, c *Config) bool {
	n := l.waiting.len()
	return n == 0 || n < c.Capacity && l.bytes+op.Size() <= c.Bytes
}

// admit lets in what is held back, in order, as far as there is room.
func (l *lane) admit(c *Config) {
	for l.held.len() > 0 && l.hasRoom(l.held.first().op, c) {
		h := l.held.pop()
		l.push(h.op)
		h.caller.release()
	}
}

// fifo is a slice that is read from its front without moving the rest each
// time.
type fifo[T any] struct {
	items []T
	head  int
}

func (f *fifo[T]) len() int { return len(f.items) - f.head }

func (f *fifo[T]) first() T { return f.items[f.head] }

func (f *fifo[T]) push(v T) {
	if f.head > 0 && len(f.items) == cap(f.items) && f.head >= len(f.items)/2 {
		n := copy(f.items, f.items[f.head:])
		clear(f.items[n:])
		f.items, f.head = f.items[:n], 0
	}
	f.items = append(f.items, v)
}

func (f *fifo[T]) pop() T {
	var zero T
	v := f.items[f.head]
	f.items[f.head] = zero
	if f.head++; f.head == len(f.items) {
		f.items, f.head = f.items[:0], 0
	}
	return v
}

// keep drops, in order, whatever the function does not want.
func (f *fifo[T]) keep(wanted func(T) bool) {
	out := f.items[:0]
	for _, v := range f.items[f.head:] {
		if wanted(v) {
			out = append(out, v)
		}
	}
	clear(f.items[len(out):])
	f.items, f.head = out, 0
}
