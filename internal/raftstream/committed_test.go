package raftstream

import (
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

func TestWhatTheLeaderHasCommittedIsThatOfASecondAgo(t *testing.T) {
	r := &Transport{}
	start := time.Now()
	tell := func(after time.Duration, term, index uint64) {
		r.committed.note(&raft.AppendEntriesRequest{Term: term, LeaderCommitIndex: index}, start.Add(after))
	}
	r.committed.note(&raft.AppendEntriesRequest{Term: 2}, start) // a heartbeat
	r.committed.note(&raft.RequestVoteRequest{Term: 2, LastLogIndex: 9}, start)
	want := func(term, index uint64) {
		t.Helper()
		if got := r.Committed(term); got != index {
			t.Errorf("%d, and it is %d", got, index)
		}
	}
	want(2, 0)
	for i := range 100 {
		tell(time.Duration(i)*50*time.Millisecond, 2, uint64(1000+i)) // the last at 4.95 s
	}
	if got := r.Committed(2); got < 1070 || got > 1080 {
		t.Errorf("%d was committed a second before, it says", got)
	}
	if n := len(r.committed.samples); n > 15 {
		t.Errorf("it keeps %d", n)
	}
	want(3, 0)
	tell(5*time.Second, 3, 1100)
	want(3, 1100)
	want(2, 0)
	tell(6*time.Second, 2, 9999) // of a deposed leader
	want(3, 1100)
	tell(6*time.Second, 3, 0) // a heartbeat
	tell(7*time.Second, 3, 1200)
	want(3, 1100)
}
