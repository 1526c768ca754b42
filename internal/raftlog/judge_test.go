package raftlog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft-wal/types"
)

// upTo are entries of term 1, up to an index.
func upTo(first, last uint64) (all []found) {
	for i := first; i <= last; i++ {
		all = append(all, found{index: i, term: 1})
	}
	return all
}

func at(index uint64) Position { return Position{Term: 1, Index: index} }

// listed is a piece that the list says to begin at an index, with entries that are
// all kept.
func listed(base uint64, sealed bool, entries []found) *piece {
	p := &piece{info: types.SegmentInfo{BaseIndex: base}, name: fmt.Sprint(base, ".wal"), sound: true, entries: entries, kept: entries}
	if sealed {
		p.info.SealTime = time.Unix(1, 0)
	}
	return p
}

// A newest segment without entries is one to which nothing was written, where the
// next entry is its first; any other one that stays has all of its entries.
func TestWhichSegmentsStay(t *testing.T) {
	for what, c := range map[string]struct {
		last  uint64
		p     *piece
		stays bool
	}{
		"an empty one where the log goes on":           {3, listed(4, false, nil), true},
		"an empty one elsewhere":                       {3, listed(9, false, nil), false},
		"an empty one of a log of which nothing is":    {0, listed(5, false, nil), true},
		"a missing one where the log goes on":          {3, &piece{info: types.SegmentInfo{BaseIndex: 4}, missing: true}, true},
		"a missing one of a log of which nothing is":   {0, &piece{info: types.SegmentInfo{BaseIndex: 5}, missing: true}, false},
		"one that holds something, and no entry":       {3, &piece{info: types.SegmentInfo{BaseIndex: 4}}, false},
		"a sealed one":                                 {3, listed(1, true, upTo(1, 3)), true},
		"a sealed one without entries":                 {3, listed(1, true, nil), false},
		"one of whose entries some are of another log": {3, &piece{sound: true, entries: upTo(1, 5), kept: upTo(1, 3)}, false},
	} {
		check := &Check{pieces: []*piece{c.p}, Report: Report{Last: c.last}}
		if got := check.stays(0); got != c.stays {
			t.Errorf("%s stays: %v", what, got)
		}
	}
	between := &Check{pieces: []*piece{listed(1, false, upTo(1, 3)), listed(4, false, nil)}, Report: Report{Last: 3}}
	if between.stays(0) {
		t.Error("one that is not the newest, and is not sealed, stays")
	}
}

// Only the rest of an append that a crash interrupted is not reported: damage of the
// newest segment, behind all that was acknowledged.
func TestWhatIsSaidOfDamage(t *testing.T) {
	torn := func(proved uint64, kept []found) *piece {
		return &piece{info: types.SegmentInfo{BaseIndex: 4}, name: "newest.wal", entries: kept, kept: kept, proved: at(proved)}
	}
	for what, c := range map[string]struct {
		r      Report
		pieces []*piece
		says   []string
	}{
		"behind what is proved there": {Report{End: at(5), Last: 5, Floor: Floor{Position: at(5)}}, []*piece{torn(5, upTo(4, 5))}, nil},
		"before it":                   {Report{End: at(5), Last: 5, Floor: Floor{Position: at(5)}}, []*piece{torn(4, upTo(4, 5))}, []string{"newest.wal is damaged"}},
		"behind the snapshot":         {Report{Snapshot: at(3), End: at(3), Floor: Floor{Position: at(3)}}, []*piece{torn(0, nil)}, nil},
		"behind the segment before":   {Report{End: at(3), Last: 3, Floor: Floor{Position: at(3)}}, []*piece{listed(1, true, upTo(1, 3)), torn(0, nil)}, nil},
		"of one that is not the newest": {Report{End: at(5), Last: 5, Floor: Floor{Position: at(3)}},
			[]*piece{{name: "first.wal", entries: upTo(1, 3), kept: upTo(1, 3), proved: at(3)}, listed(4, false, upTo(4, 5))}, []string{"first.wal is damaged"}},
		"of one that is gone": {Report{End: at(5), Last: 5, Floor: Floor{Position: at(5)}},
			[]*piece{{name: "first.wal", missing: true}, listed(4, false, upTo(4, 5))}, []string{"first.wal is missing"}},
		"of the newest one that is gone": {Report{End: at(3), Last: 3, Floor: Floor{Position: at(9)}},
			[]*piece{listed(1, true, upTo(1, 3)), {info: types.SegmentInfo{BaseIndex: 4}, name: "newest.wal", missing: true}},
			[]string{"newest.wal is missing", "is intact up to index 3 of term 1, and"}},
		"where more was stored": {Report{End: at(5), Last: 5, Floor: Floor{Position: at(9)}}, []*piece{torn(5, upTo(4, 5))},
			[]string{"newest.wal is damaged", "is intact up to index 5 of term 1, and"}},
		"where its entries go on from nothing": {Report{Snapshot: at(3), End: at(3), Floor: Floor{Position: at(9)}}, []*piece{{name: "newest.wal", entries: upTo(6, 9), proved: at(9)}},
			[]string{"newest.wal is set aside", "is intact up to index 3 of term 1, and"}},
		"where more was stored, and nothing shows": {Report{End: at(5), Last: 5, Floor: Floor{Position: at(9)}}, []*piece{listed(1, false, upTo(1, 5))},
			[]string{"holds nothing from index 6 on", "is intact up to index 5 of term 1, and"}},
	} {
		check := &Check{pieces: c.pieces, Report: c.r}
		check.judge()
		said := len(check.Notes) == len(c.says)
		for i := range c.says {
			said = said && strings.Contains(check.Notes[i], c.says[i])
		}
		if !said {
			t.Errorf("%s: it says %q, want %q", what, check.Notes, c.says)
		}
	}
}

// A log that begins at the snapshot's index has the snapshot's own entry there.
func TestWhichEntriesContinueFromASnapshot(t *testing.T) {
	for what, c := range map[string]struct {
		snapshot Position
		run      []found
		connects bool
	}{
		"from the beginning":         {Position{}, upTo(1, 3), true},
		"with a gap":                 {at(3), upTo(5, 9), false},
		"right behind it":            {at(3), upTo(4, 9), true},
		"from it":                    {at(4), upTo(4, 9), true},
		"from it, in another term":   {Position{Term: 2, Index: 4}, upTo(4, 9), false},
		"across it":                  {at(5), upTo(4, 9), true},
		"across it, in another term": {Position{Term: 2, Index: 5}, upTo(4, 9), false},
		"up to it":                   {at(9), upTo(4, 9), true},
		"up to it, in another term":  {Position{Term: 2, Index: 9}, upTo(4, 9), false},
		"up to an entry before it":   {at(10), upTo(4, 9), false},
		"behind it, in another term": {Position{Term: 2, Index: 3}, upTo(4, 9), true},
	} {
		check := &Check{Report: Report{Snapshot: c.snapshot}}
		if got := check.connects(c.run); got != c.connects {
			t.Errorf("%s: %v", what, got)
		}
	}
}

// A segment that is written anew has a greater ID than any that is there, also one
// that the list does not name.
func TestAnIDIsAboveThoseOfAllSegments(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(
		os.WriteFile(filepath.Join(dir, SegmentsName), EncodeSegments(types.PersistentState{NextSegmentID: 1}), 0o600),
		os.WriteFile(filepath.Join(dir, fmt.Sprintf("%020d-%016x.wal", 7, 200)), nil, 0o600),
	); err != nil {
		t.Fatal(err)
	}
	c, err := Inspect(dir, Position{}, Floor{})
	if err != nil {
		t.Fatal(err)
	}
	if next := c.List().NextSegmentID; next != 201 {
		t.Errorf("the next one is %d", next)
	}
	if err := os.WriteFile(filepath.Join(dir, SegmentsName), EncodeSegments(types.PersistentState{NextSegmentID: 300}), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err = Inspect(dir, Position{}, Floor{}); err != nil || c.List().NextSegmentID != 300 {
		t.Errorf("where segments with greater IDs were removed: %+v, %v", c, err)
	}
	if err := os.Remove(filepath.Join(dir, SegmentsName)); err != nil {
		t.Fatal(err)
	}
	if c, err = Inspect(dir, Position{}, Floor{}); err != nil || c.List().NextSegmentID != 201 {
		t.Errorf("of a list that is made again: %+v, %v", c, err)
	}
}
