package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex/raftdir"
	"github.com/interrex/interrex/raftworker"
)

// Other members refuse an empty directory in the place of one that they know.
func TestAnEmptyDirectoryIsAdvisedToAnAgentAloneOnly(t *testing.T) {
	for _, alone := range []bool{true, false} {
		e := &raftworker.Examination{Alone: alone, Verdict: raftworker.Wiped}
		if says := would(e); strings.Contains(says, "begin a new cluster with an empty one") != alone || strings.Contains(says, "refuse an empty one") == alone {
			t.Errorf("alone %t: %s", alone, says)
		}
	}
}

// Without its vote or floor nothing is known of either.
func TestWhatIsLostIsNotShownAsNothing(t *testing.T) {
	lost := raftdir.Found{Forgotten: errors.New("the file vote is missing"), Members: raft.Configuration{}}
	e := &raftworker.Examination{Found: lost, Verdict: raftworker.Wiped}
	d := repairDocument{Forgotten: lost.Forgotten.Error()}
	for _, row := range d.table(e).rows {
		if row[0] == "term" || row[0] == "has stored" {
			t.Errorf("it shows %q", row)
		}
	}
}
