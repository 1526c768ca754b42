package raftdir

import (
	"errors"
	"fmt"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex/internal/raftlog"
)

// answers returns what GetLog returns for an entry: its term, and whether it is a
// stand-in.
func answers(t *testing.T, d *Directory, index uint64) (term uint64, standsIn bool) {
	t.Helper()
	var log raft.Log
	err := d.GetLog(index, &log)
	if errors.Is(err, raft.ErrLogNotFound) {
		return 0, false
	}
	must(t, err)
	if log.Index != index || StandsIn(&log) && (log.Type != raft.LogNoop || log.Data != nil) {
		t.Errorf("entry %d is %+v", index, log)
	}
	return log.Term, StandsIn(&log)
}

// endOfASegment returns the last entry of a segment in the log's second term: what
// is deleted up to it is gone, and not only left out.
func endOfASegment(t *testing.T, dir string) uint64 {
	t.Helper()
	for _, file := range allFiles(t, dir) {
		var base uint64
		if n, _ := fmt.Sscanf(file, "%020d-", &base); n == 1 && base > 210 {
			return base - 1
		}
	}
	t.Fatal("there is none")
	return 0
}

func reopen(t *testing.T, dir string) *Directory {
	t.Helper()
	d, err := Open(dir, Config{SegmentSize: smallSegment, NoSync: true})
	must(t, err)
	return d
}

func TestTheNewestSnapshotStandsForItsEntry(t *testing.T) {
	dir := filled(t, 0)
	at := endOfASegment(t, dir)
	d := reopen(t, dir)
	takeSnapshot(t, d, at)
	if term, standsIn := answers(t, d, at); term != 2 || standsIn {
		t.Errorf("the log has its entry: term %d, %v", term, standsIn)
	}
	must(t, d.DeleteRange(1, at))
	again := func() {
		must(t, d.Close())
		d = reopen(t, dir)
	}
	for range 2 {
		if term, standsIn := answers(t, d, at); term != 2 || !standsIn {
			t.Errorf("behind it the log goes on: term %d, %v", term, standsIn)
		}
		if term, standsIn := answers(t, d, at+1); term != 2 || standsIn {
			t.Errorf("the first entry: term %d, %v", term, standsIn)
		}
		for _, index := range []uint64{1, at - 1, lastEntry + 1} {
			if term, _ := answers(t, d, index); term != 0 {
				t.Errorf("entry %d is there, of term %d", index, term)
			}
		}
		again()
	}
	// A leader's snapshot that is on disk, and not yet in the state.
	takeSnapshot(t, d, lastEntry+50)
	if term, _ := answers(t, d, lastEntry+50); term != 0 {
		t.Error("it stands for an entry before raft has applied it")
	}
	must(t, d.DeleteRange(at+1, lastEntry))
	for range 2 {
		if term, standsIn := answers(t, d, lastEntry+50); term != 2 || !standsIn {
			t.Errorf("the log is cleared: term %d, %v", term, standsIn)
		}
		if term, _ := answers(t, d, at); term != 0 {
			t.Error("an older snapshot stands for its entry")
		}
		again()
	}
	must(t, d.Close())
	d = openTerm(t, t.TempDir(), Config{NoSync: true})
	if takeSnapshot(t, d, 50); d.cleared.Load() != 0 {
		t.Error("a log that was never written is cleared")
	}
	if term, _ := answers(t, d, 50); term != 0 {
		t.Error("it stands for an entry before raft has applied it")
	}
	must(t, d.Close())
}

// A leader that finds the first entry sends it, and looks for none before it.
func TestNothingStandsForTheFirstEntry(t *testing.T) {
	d := openTerm(t, t.TempDir(), Config{NoSync: true})
	must(t, d.StoreLogs(original(1, 1)))
	takeSnapshot(t, d, 1)
	must(t, d.DeleteRange(1, 1))
	if term, _ := answers(t, d, 1); term != 0 {
		t.Errorf("it is there, of term %d", term)
	}
	must(t, d.Close())
}

func TestWhatALeaderSaysStandsForEntriesUntilItIsDone(t *testing.T) {
	dir := filled(t, 0)
	at := endOfASegment(t, dir)
	d := reopen(t, dir)
	takeSnapshot(t, d, at+3)
	must(t, d.DeleteRange(1, at))
	done := d.Vouch(at-2, []uint64{7, 8, 9, 10, 11})
	for index, want := range map[uint64]uint64{at - 3: 0, at - 2: 7, at: 9} {
		if term, standsIn := answers(t, d, index); term != want || standsIn != (want > 0) {
			t.Errorf("entry %d: term %d, %v", index, term, standsIn)
		}
	}
	if term, standsIn := answers(t, d, at+1); term != 2 || standsIn {
		t.Errorf("what the log has goes first: term %d, %v", term, standsIn)
	}
	if _, err := d.TermAt(at); !errors.Is(err, raft.ErrLogNotFound) {
		t.Errorf("the log itself is said to have it: %v", err)
	}
	done()
	if term, _ := answers(t, d, at); term != 0 {
		t.Errorf("afterwards: term %d", term)
	}
	must(t, d.Close())
}

func TestTheLogIsCutForACommittedEntry(t *testing.T) {
	for _, c := range []struct {
		name string
		at   raftlog.Position
		end  raftlog.Position
	}{
		{"there is another entry", raftlog.Position{Term: 2, Index: 150}, raftlog.Position{Term: 1, Index: 149}},
		{"and is the oldest one", raftlog.Position{Term: 2, Index: snapshotAt + 1}, raftlog.Position{Term: 1, Index: snapshotAt}},
		{"it is there", raftlog.Position{Term: 1, Index: 150}, raftlog.Position{Term: 2, Index: lastEntry}},
		{"the log ends before", raftlog.Position{Term: 3, Index: lastEntry + 1}, raftlog.Position{Term: 2, Index: lastEntry}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filled(t, snapshotAt)
			d := reopen(t, dir)
			must(t, d.DeleteRange(1, snapshotAt))
			must(t, d.CutFor(c.at))
			for range 2 {
				if d.End() != c.end || d.Floor().Position != c.end || d.Quarantined() {
					t.Errorf("end %s, floor %s, quarantine %v", d.End(), d.Floor().Position, d.Quarantined())
				}
				if last, err := d.LastIndex(); err != nil || last != c.end.Index && c.end.Index != snapshotAt {
					t.Errorf("the log ends at %d, %v", last, err)
				}
				must(t, d.Close())
				d = reopen(t, dir)
			}
			must(t, d.Close())
		})
	}
}
