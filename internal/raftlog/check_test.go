package raftlog_test

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"

	"github.com/interrex/interrex/internal/raftlog"
	"github.com/interrex/interrex/raftdir"
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

// mended opens a directory of short, and holds that all of its log is there, that
// something is said of it or not, and that nothing is the second time.
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
