package waitlist

import (
	"errors"
	"testing"
)

func TestWhoseTargetIsReachedIsLetGo(t *testing.T) {
	var l List
	waiters := map[uint64]*Waiter{}
	for _, target := range []uint64{5, 1, 4, 2, 3} {
		waiters[target] = l.Join(target)
	}
	l.Leave(waiters[2])
	l.Leave(waiters[2]) // again, after it was taken out
	l.Release(3)
	for target, want := range map[uint64]int{1: 1, 2: 0, 3: 1, 4: 0, 5: 0} {
		if got := len(waiters[target].Done); got != want {
			t.Errorf("the waiter for %d was let go %d times, want %d", target, got, want)
		}
	}
	if err := <-waiters[1].Done; err != nil {
		t.Errorf("with %v", err)
	}
	l.Leave(waiters[1]) // after it was let go
	if l.Len() != 2 {
		t.Errorf("%d wait, want 2", l.Len())
	}
	ended := errors.New("ended")
	l.Fail(ended)
	if err := <-waiters[5].Done; err != ended || l.Len() != 0 {
		t.Errorf("the last got %v, and %d wait", err, l.Len())
	}
}
