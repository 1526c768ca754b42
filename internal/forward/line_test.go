package forward

import (
	"fmt"
	"testing"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
)

// sendFor sends n operations of one caller, which nobody answers, and returns how many were
// refused.
func sendFor(t *testing.T, w Way, share string, n int, wait uint32) (refused int, abandon func(i int)) {
	t.Helper()
	ops := make([]*interrexv1.Operation, n)
	for i := range ops {
		ops[i] = &interrexv1.Operation{Share: share, WaitMs: wait}
	}
	done := false
	abandon = w.Send(ops, func(_ int, _ []byte, err error) {
		if done {
			return // it was abandoned
		}
		if interrex.KindOf(err) != interrex.ErrOverloaded {
			t.Errorf("an operation of %s: %v", share, err)
		}
		refused++
	})
	done = true
	return refused, abandon
}

func TestOneCallerLeavesRoomForOthersOnTheWayToTheLeader(t *testing.T) {
	for what, wait := range map[string]uint32{"operations": 0, "claims that wait": 1000} {
		t.Run(what, func(t *testing.T) {
			f, _ := newForwarder(t)
			w := ways(t, f, "a")["a"]
			refused, abandon := sendFor(t, w, "flood", 2*maxOpen, wait)
			if refused != 2*maxOpen-maxOpen/8*3 {
				t.Errorf("the flood was refused %d times of %d", refused, 2*maxOpen)
			}
			for i := range 100 {
				if refused, _ := sendFor(t, w, fmt.Sprint("caller", i), 10, wait); refused > 0 {
					t.Fatalf("caller %d was refused %d times of 10", i, refused)
				}
			}
			for i := range 2 * maxOpen {
				abandon(i)
			}
			if refused, _ := sendFor(t, w, "later", 1000, wait); refused > 0 {
				t.Errorf("the flood is over, and another caller was refused %d times", refused)
			}
		})
	}
}

func TestCallersWithoutEndKeepNobodyOut(t *testing.T) {
	f, _ := newForwarder(t)
	w := ways(t, f, "a")["a"]
	for i := range 20 {
		sendFor(t, w, fmt.Sprint("flood", i), maxOpen, 0)
	}
	if refused, _ := sendFor(t, w, "good", 8, 0); refused > 0 {
		t.Errorf("a caller was refused %d times of 8", refused)
	}
}
