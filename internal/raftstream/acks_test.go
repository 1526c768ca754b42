package raftstream

import (
	"testing"
	"time"
)

func TestAMatchOnlyRisesWithinATerm(t *testing.T) {
	var a acks
	for _, step := range []struct{ term, index, term1, term2 uint64 }{
		{1, 7, 7, 0}, {1, 5, 7, 0}, {1, 9, 9, 0}, {2, 3, 0, 3}, {1, 20, 0, 3}, {2, 0, 0, 3},
	} {
		a.matched("b", step.term, step.index)
		if one, two := a.match("b", 1), a.match("b", 2); one != step.term1 || two != step.term2 {
			t.Errorf("after index %d in term %d: %d in term 1, %d in term 2", step.index, step.term, one, two)
		}
	}
	if got := a.match("c", 2); got != 0 {
		t.Errorf("a peer that has said nothing matches up to %d", got)
	}
}

// Answers may overtake each other.
func TestAnAckNeverGoesBack(t *testing.T) {
	var a acks
	now := time.Now()
	a.note("b", now, 2)
	a.note("b", now.Add(-time.Second), 2) // overtaken
	a.note("b", now.Add(time.Second), 1)  // of an earlier term
	if last := a.last("b"); !last.sent.Equal(now) || last.term != 2 {
		t.Errorf("%+v", last)
	}
}
