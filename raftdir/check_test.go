package raftdir

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
)

// short makes a directory of a log of nine entries in one segment, and returns
// its list of segments and that segment's file.
func short(t *testing.T) (dir string, list types.PersistentState, path string) {
	t.Helper()
	dir = t.TempDir()
	d := openTerm(t, dir, Config{NoSync: true})
	for i := uint64(1); i <= 9; i++ {
		must(t, d.StoreLogs(original(i, i)))
	}
	list = d.segments.now()
	must(t, d.Close())
	return dir, list, filepath.Join(dir, segment.FileName(list.Segments[0]))
}

// mended opens a directory of short, and holds that all of its log is there, that
// something is said of it or not, and that nothing is the second time.
func mended(t *testing.T, dir string, said bool) {
	t.Helper()
	for _, said := range []bool{said, false} {
		d, err := Open(dir, Config{NoSync: true})
		must(t, err)
		if notes := d.Report().Notes; (len(notes) > 0) != said || d.End().Index != 9 || d.Quarantined() {
			t.Errorf("it ends at %s, quarantined %v: %q", d.End(), d.Quarantined(), notes)
		}
		mustHold(t, d, "mended", 0)
		must(t, d.Close())
	}
}

// A segment whose header is that of another one, and sound, is not it.
func TestASegmentIsKnownByItsHeader(t *testing.T) {
	for what, at := range map[string]int{"first index": 8, "ID": 16, "codec": 24} {
		t.Run(what, func(t *testing.T) {
			dir, _, path := short(t)
			changed(func(b []byte) []byte {
				first := scanSegment(b).entries[0]
				commit := first.at + frameHeader + (first.length+7)/8*8
				b[at]++
				binary.LittleEndian.PutUint32(b[commit+4:], crc32.Checksum(b[:commit], castagnoli))
				if !scanSegment(b).sound {
					t.Fatal("it is not sound")
				}
				return b
			})(t, path)
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
	must(t, os.WriteFile(filepath.Join(dir, segmentsName), encodeSegments(list), 0o600))
	mended(t, dir, true)

	d, err := Open(dir, Config{NoSync: true})
	must(t, err)
	list = d.segments.now()
	must(t, d.Close())
	list.Segments[0].IndexStart += 8
	must(t, os.WriteFile(filepath.Join(dir, segmentsName), encodeSegments(list), 0o600))
	mended(t, dir, true)
}

// Terms never fall in a log: what is behind such an entry is of another one.
func TestALogEndsWhereItsTermsFall(t *testing.T) {
	dir := t.TempDir()
	d := openTerm(t, dir, Config{NoSync: true})
	must(t, d.Stable().SetUint64([]byte(keyCurrentTerm), 2))
	must(t, d.StoreLogs([]*raft.Log{{Index: 1, Term: 2}, {Index: 2, Term: 2}}))
	must(t, errors.Join(d.StoreLogs([]*raft.Log{{Index: 3, Term: 1}}), d.Close()))
	d = reopen(t, dir)
	if want := (Position{Term: 2, Index: 2}); d.End() != want || d.Quarantined() {
		t.Errorf("it ends at %s, not at %s, quarantined %v", d.End(), want, d.Quarantined())
	}
	must(t, d.Close())
}

// A snapshot proves itself by its state too, and needs no check: its process may
// have ended just before that was written.
func TestASnapshotProvesItself(t *testing.T) {
	for file, c := range map[string]struct {
		change func(path string) error
		sound  bool
	}{
		checkName: {os.Remove, true},
		stateName: {func(path string) error { return os.WriteFile(path, []byte("the state at 7"), 0o600) }, false},
		metaName: {func(path string) error {
			b, err := os.ReadFile(path)
			return errors.Join(err, os.WriteFile(path, append(b, ' '), 0o600))
		}, false},
	} {
		dir, _, _ := short(t)
		d := reopen(t, dir)
		takeSnapshot(t, d, 5)
		must(t, d.Close())
		files, err := filepath.Glob(filepath.Join(dir, snapshotsName, "*", file))
		must(t, errors.Join(err, c.change(files[0])))
		d = reopen(t, dir)
		if r := d.Report(); (r.Snapshot.Index == 5) != c.sound || (len(r.Notes) == 0) != c.sound || d.End().Index != 9 {
			t.Errorf("with another %s the snapshot is %s, and the log ends at %s: %q", file, r.Snapshot, d.End(), r.Notes)
		}
		must(t, d.Close())
	}
}
