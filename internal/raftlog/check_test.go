package raftlog_test

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"

	"github.com/interrex/interrex/internal/raftdir"
	"github.com/interrex/interrex/internal/raftlog"
)

// short makes a directory of a log of nine entries in one segment, and returns
// its list of segments and that segment's file.
func short(t *testing.T) (dir string, list types.PersistentState, path string) {
	t.Helper()
	dir = t.TempDir()
	d := open(t, dir, 1, raftdir.Config{})
	for i := uint64(1); i <= 9; i++ {
		must(t, d.StoreLogs(entries(i, i)))
	}
	must(t, d.Close())
	list = segmentsOf(t, dir)
	return dir, list, filepath.Join(dir, segment.FileName(list.Segments[0]))
}

// mended opens a directory of short, and checks that all of its log is there, that
// there are notes or not, and that there are none the second time.
func mended(t *testing.T, dir string, said bool) {
	t.Helper()
	for _, said := range []bool{said, false} {
		d, err := raftdir.Open(dir, raftdir.Config{NoSync: true})
		must(t, err)
		if notes := d.Report().Notes; (len(notes) > 0) != said || d.End().Index != 9 || d.Quarantined() {
			t.Errorf("it ends at %s, quarantined %v: %q", d.End(), d.Quarantined(), notes)
		}
		mustHold(t, d)
		must(t, d.Close())
	}
}

// A segment whose header is that of another one, and sound, is not it.
func TestASegmentIsKnownByItsHeader(t *testing.T) {
	for what, at := range map[string]int{"first index": 8, "ID": 16, "codec": 24} {
		t.Run(what, func(t *testing.T) {
			dir, _, path := short(t)
			change(t, path, func(b []byte) {
				commit := frames(b)[1].at
				b[at]++
				binary.LittleEndian.PutUint32(b[commit+4:], crc32.Checksum(b[:commit], crc32.MakeTable(crc32.Castagnoli)))
			})
			mended(t, dir, true)
		})
	}
}

// A sealed segment has the index that the list of segments says, or is written
// anew.
func TestASealedSegmentHasItsIndex(t *testing.T) {
	dir, list, _ := short(t)
	sealed := &list.Segments[0]
	sealed.SealTime, sealed.MaxIndex = time.Now(), 9 // and it has no index
	must(t, os.WriteFile(filepath.Join(dir, raftlog.SegmentsName), raftlog.EncodeSegments(list), 0o600))
	mended(t, dir, true)

	d, err := raftdir.Open(dir, raftdir.Config{NoSync: true})
	must(t, err)
	must(t, d.Close())
	list = segmentsOf(t, dir)
	list.Segments[0].IndexStart += 8
	must(t, os.WriteFile(filepath.Join(dir, raftlog.SegmentsName), raftlog.EncodeSegments(list), 0o600))
	mended(t, dir, true)
}

// Terms never fall in a log: what is behind such an entry is of another one.
func TestALogEndsWhereItsTermsFall(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir, 1, raftdir.Config{})
	must(t, d.Stable().SetUint64([]byte("CurrentTerm"), 2))
	must(t, d.StoreLogs([]*raft.Log{{Index: 1, Term: 2}, {Index: 2, Term: 2}}))
	must(t, errors.Join(d.StoreLogs([]*raft.Log{{Index: 3, Term: 1}}), d.Close()))
	d = open(t, dir, 2, raftdir.Config{})
	if want := (raftlog.Position{Term: 2, Index: 2}); d.End() != want || d.Quarantined() {
		t.Errorf("it ends at %s, not at %s, quarantined %v", d.End(), want, d.Quarantined())
	}
	must(t, d.Close())
}

// A segment that the list does not name is no part of a log that has all that was
// stored.
func TestAListThatLeadsToAllThatWasStoredIsKept(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir, 1, raftdir.Config{SegmentSize: 4096})
	must(t, d.StoreLogs(entries(1, 3)))
	old := segmentsOf(t, dir)
	for i := uint64(4); i < 200; i++ {
		must(t, d.StoreLogs(entries(i, i)))
	}
	must(t, d.Close())
	rotated := segmentsOf(t, dir).Segments[0].MaxIndex
	must(t, os.WriteFile(filepath.Join(dir, raftlog.SegmentsName), raftlog.EncodeSegments(old), 0o600))
	end := raftlog.Position{Term: 1, Index: rotated}
	c, err := raftlog.Inspect(dir, raftlog.Position{}, raftlog.Floor{Position: end})
	must(t, err)
	if c.End != end || len(c.Notes) > 0 {
		t.Errorf("it ends at %s, not at %s: %q", c.End, end, c.Notes)
	}
	if c, err = raftlog.Inspect(dir, raftlog.Position{}, raftlog.Floor{Position: raftlog.Position{Term: 1, Index: 199}}); err != nil || c.End.Index != 199 || len(c.Notes) == 0 {
		t.Errorf("where more was stored, it ends at %s: %q, %v", c.End, c.Notes, err)
	}
}

// All segments behind one that is rewritten are rewritten too, and a segment keeps
// the size that the next ones are to have.
func TestSegmentsBehindOneThatIsWrittenAnewAreLater(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir, 1, raftdir.Config{SegmentSize: 4096})
	for i := uint64(1); i < 200; i++ {
		must(t, d.StoreLogs(entries(i, i)))
	}
	must(t, d.Close())
	list := segmentsOf(t, dir)
	if len(list.Segments) < 3 {
		t.Fatalf("%d segments are too few", len(list.Segments))
	}
	change(t, filepath.Join(dir, segment.FileName(list.Segments[0])), func(b []byte) { b[8] ^= 1 })
	gone := list.Segments[1]
	gone.ID, gone.SealTime, gone.MaxIndex = list.NextSegmentID, time.Time{}, 0 // nothing was ever written to it
	list.NextSegmentID++
	list.Segments = slices.Insert(list.Segments, 1, gone)
	must(t, os.WriteFile(filepath.Join(dir, raftlog.SegmentsName), raftlog.EncodeSegments(list), 0o600))
	for round := range 2 {
		d := open(t, dir, 1, raftdir.Config{SegmentSize: 4096})
		if d.End().Index != 199 || d.Quarantined() {
			t.Errorf("it ends at %s: %q", d.End(), d.Report().Notes)
		}
		mustHold(t, d)
		must(t, d.Close())
		for _, info := range segmentsOf(t, dir).Segments {
			if round == 0 && info.SizeLimit != list.Segments[0].SizeLimit {
				t.Errorf("segment %d has %d bytes, not %d", info.ID, info.SizeLimit, list.Segments[0].SizeLimit)
			}
		}
		must(t, os.Remove(filepath.Join(dir, raftlog.SegmentsName)))
	}
}
