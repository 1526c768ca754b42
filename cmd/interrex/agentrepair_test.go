package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex/internal/datadir"
	"github.com/interrex/interrex/internal/raftdir"
	"github.com/interrex/interrex/internal/raftlog"
)

// Other members refuse an empty directory in the place of one that they know.
func TestAnEmptyDirectoryIsAdvisedToAnAgentAloneOnly(t *testing.T) {
	for _, alone := range []bool{true, false} {
		e := &datadir.Examination{Alone: alone, Verdict: datadir.Wiped}
		if says := planned(e); strings.Contains(says, "start a new cluster with an empty one") != alone || strings.Contains(says, "reject an empty one") == alone {
			t.Errorf("alone %t: %s", alone, says)
		}
	}
}

// Without its vote or floor nothing is known of either.
func TestWhatIsLostIsNotShownAsNothing(t *testing.T) {
	lost := raftdir.Found{Forgotten: errors.New("the file vote is missing"), Members: raft.Configuration{}}
	e := &datadir.Examination{Found: lost, Verdict: datadir.Wiped}
	d := repairDocument{Forgotten: lost.Forgotten.Error()}
	for _, row := range d.table(e, "").rows {
		if row[0] == "term" || row[0] == "has stored" {
			t.Errorf("it shows %q", row)
		}
	}
}

// Who has applied a repair wants to know what was done, not what would be.
func TestARepairSaysWhatItHasDone(t *testing.T) {
	var short raftdir.Found
	short.End = raftlog.Position{Term: 2, Index: 5}
	short.Floor.Position = raftlog.Position{Term: 2, Index: 9}
	for verdict, want := range map[datadir.Verdict]string{
		datadir.Sound:   "nothing: no damage was found",
		datadir.Damaged: "damaged files are in raft/damaged; start the agent",
		datadir.Waits:   "damaged files are in raft/damaged; start the agent: the other members send it the entries 6 to 9",
		datadir.Lost:    "recovered; start the agent: until the pause after a recovery is over it rejects claims, and says for how long",
	} {
		e := &datadir.Examination{Found: short, Verdict: verdict}
		d := repairDocument{Verdict: string(verdict), Would: planned(e)}
		rows := d.table(e, done(e)).rows
		if last := rows[len(rows)-1]; last[0] != "done" || last[1] != want {
			t.Errorf("%s: %q, want %q", verdict, last, want)
		}
		rows = d.table(e, "").rows
		if last := rows[len(rows)-1]; last[0] != "--apply" || last[1] != planned(e) {
			t.Errorf("%s, not applied: %q", verdict, last)
		}
	}
}
