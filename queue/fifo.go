package queue

// fifo is a slice that is read from its front without moving the rest each time.
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

// keep keeps, in order, what is wanted.
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
