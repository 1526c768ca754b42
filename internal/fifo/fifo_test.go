package fifo

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestAQueueIsFirstInFirstOut(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		var q Queue[int]
		var want []int
		for next := range rapid.IntRange(0, 200).Draw(r, "steps") {
			switch what := rapid.IntRange(0, 9).Draw(r, "what"); {
			case what < 5:
				q.Push(next)
				want = append(want, next)
			case what < 9 && len(want) > 0:
				if first, got := q.First(), q.Pop(); first != want[0] || got != want[0] {
					r.Fatalf("first %d, popped %d, want %d", first, got, want[0])
				}
				want = want[1:]
			case what == 9:
				odd := func(v int) bool { return v%2 == 1 }
				q.Keep(odd)
				want = slices.DeleteFunc(slices.Clone(want), func(v int) bool { return !odd(v) })
			}
			if q.Len() != len(want) || !slices.Equal(q.Items(), want) {
				r.Fatalf("%d items: %v, want %v", q.Len(), q.Items(), want)
			}
		}
	})
}

// held returns how many items a queue's memory still refers to.
func held(q *Queue[*int]) (n int) {
	for _, item := range q.items[:cap(q.items)] {
		if item != nil {
			n++
		}
	}
	return n
}

func TestAQueueKeepsNothingThatWasTaken(t *testing.T) {
	var q Queue[*int]
	for range 8 {
		q.Push(new(int))
	}
	for range 6 {
		q.Pop()
	}
	if n := held(&q); n != 2 {
		t.Errorf("after six of eight were taken %d are held", n)
	}
	q.Push(new(int)) // moves what is left to the front
	if n := held(&q); n != 3 || q.head != 0 {
		t.Errorf("after another push %d are held, the first at %d", n, q.head)
	}
	q.Keep(func(*int) bool { return false })
	if n := held(&q); n != 0 {
		t.Errorf("of none %d are held", n)
	}
	for range 100_000 {
		q.Push(new(int))
		q.Push(new(int))
		q.Pop()
		q.Pop()
	}
	if cap(q.items) > 8 {
		t.Errorf("there is room for %d items, and there were never more than two", cap(q.items))
	}
}
