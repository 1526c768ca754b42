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
		a.matched("b", match{"", step.term, step.index})
		of := func(term uint64) uint64 {
			if m := a.match("b"); m.term == term {
				return m.index
			}
			return 0
		}
		if one, two := of(1), of(2); one != step.term1 || two != step.term2 {
			t.Errorf("after index %d in term %d: %d in term 1, %d in term 2", step.index, step.term, one, two)
		}
	}
	if got := a.match("c"); got.index != 0 {
		t.Errorf("a peer that has said nothing matches up to %d", got.index)
	}
}

// What an agent has acknowledged from a disk that was wiped since is not counted, also
// before raft is open to the agent again.
func TestAnAckIsOfOneLife(t *testing.T) {
	now, met := "first", true
	r := &Transport{config: Config{Met: func(string) (string, bool) { return now, met }}}
	sent := time.Now()
	r.acks.note("b", ack{"first", sent, 2})
	r.acks.matched("b", match{"first", 2, 9})
	counts := func(index uint64) {
		t.Helper()
		at, term := r.LastAck("b")
		if r.MatchIndex("b", 2) != index || at.IsZero() != (index == 0) || (term == 0) != (index == 0) {
			t.Errorf("with life %q it matches up to %d, and has answered in term %d, at %v", now, r.MatchIndex("b", 2), term, at)
		}
	}
	counts(9)
	now = "second"
	counts(0)
	r.acks.note("b", ack{"second", sent.Add(time.Second), 2})
	r.acks.matched("b", match{"second", 2, 4})
	counts(4)
	now, met = "", false // it is forgotten
	counts(4)
}

// Answers may overtake each other.
func TestAnAckNeverGoesBack(t *testing.T) {
	var a acks
	now := time.Now()
	a.note("b", ack{"", now, 2})
	a.note("b", ack{"", now.Add(-time.Second), 2}) // overtaken
	a.note("b", ack{"", now.Add(time.Second), 1})  // of an earlier term
	if last := a.last("b"); !last.sent.Equal(now) || last.term != 2 {
		t.Errorf("%+v", last)
	}
}
