package raftdir

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/segment"
)

// What an append leaves that a crash tore is no damage: nothing of it was
// acknowledged. A byte that changed before what was acknowledged is said, also
// where all entries still prove themselves.
func TestATornAppendIsNotSaidAndDamageOfACommitIs(t *testing.T) {
	dir := t.TempDir()
	d := openTerm(t, dir, Config{NoSync: true})
	for i := uint64(1); i <= 9; i++ {
		must(t, d.StoreLogs(original(i, i)))
	}
	must(t, d.Close())
	path := filepath.Join(dir, segment.FileName(d.segments.now().Segments[0]))
	whole, err := os.ReadFile(path)
	must(t, err)
	s := scanSegment(whole)
	end := s.entries[8].at + frameHeader + (s.entries[8].length+7)/8*8
	for what, c := range map[string]struct {
		change func(b []byte)
		said   bool
	}{
		"nothing":                    {func([]byte) {}, false},
		"half an entry behind it":    {func(b []byte) { copy(b[end+frameHeader:], whole[s.entries[8].at:s.entries[8].at+30]) }, false},
		"a block far behind the end": {func(b []byte) { copy(b[end+4096:], "some bytes") }, false},
		"the first commit":           {func(b []byte) { b[s.entries[1].at-4] ^= 1 }, true},
		"the last commit":            {func(b []byte) { b[end+4] ^= 1 }, true},
		"the header":                 {func(b []byte) { b[8] ^= 1 }, true},
	} {
		b := append([]byte(nil), whole...)
		c.change(b)
		changed := filepath.Join(t.TempDir(), "raft")
		must(t, os.CopyFS(changed, os.DirFS(dir)))
		must(t, os.WriteFile(filepath.Join(changed, filepath.Base(path)), b, 0o600))
		d, err := Open(changed, Config{NoSync: true})
		must(t, err)
		notes := strings.Join(d.Report().Notes, "; ")
		if said := notes != ""; said != c.said || d.End().Index != 9 || d.Quarantined() {
			t.Errorf("%s: the log ends at %s; %q", what, d.End(), notes)
		}
		must(t, errors.Join(d.Close(), os.RemoveAll(changed)))
	}
}

// Segments that were written anew because of damage are in their place also when
// the list of segments is lost after that.
func TestAListIsMadeAgainAfterSegmentsWereWrittenAnew(t *testing.T) {
	whole := filled(t, snapshotAt)
	names, err := filepath.Glob(filepath.Join(whole, "*.wal"))
	must(t, err)
	if len(names) < 4 {
		t.Fatalf("%d segments are too few", len(names))
	}
	for _, name := range names[:len(names)-1] {
		dir := filepath.Join(t.TempDir(), "raft")
		must(t, os.CopyFS(dir, os.DirFS(whole)))
		changed(func(b []byte) []byte { b[8] ^= 1; return b })(t, filepath.Join(dir, filepath.Base(name)))
		for range 2 {
			d, err := Open(dir, Config{SegmentSize: smallSegment, NoSync: true})
			must(t, err)
			if d.End().Index != lastEntry || len(d.Report().Notes) == 0 {
				t.Errorf("%s: the log ends at %s: %q", filepath.Base(name), d.End(), d.Report().Notes)
			}
			mustHold(t, d, name, snapshotAt)
			must(t, errors.Join(d.Close(), os.Remove(filepath.Join(dir, segmentsName))))
		}
		must(t, os.RemoveAll(dir))
	}
}

// What could not be written anew leaves nothing behind: it is tried again and
// again while the disk is full.
func TestWhatCouldNotBeWrittenLeavesNothing(t *testing.T) {
	dir := filled(t, snapshotAt)
	names, err := filepath.Glob(filepath.Join(dir, "*.wal"))
	must(t, err)
	changed(func(b []byte) []byte { b[8] ^= 1; return b })(t, names[0])
	begun := filepath.Join(dir, snapshotsName, "2-7-1795752323562"+unfinished)
	must(t, MakePrivate(begun))
	d, err := Open(dir, Config{SegmentSize: smallSegment, NoSync: true})
	must(t, errors.Join(err, d.Close()))
	if _, err := os.Stat(begun); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an unfinished snapshot is still there: %v", err)
	}

	names, err = filepath.Glob(filepath.Join(dir, "*.wal"))
	must(t, err)
	changed(func(b []byte) []byte { b[8] ^= 1; return b })(t, names[0])
	syncs := 0
	full := faultyVFS{VFS: fs.New(), syncs: &syncs, sync: func() error { return syscall.ENOSPC }}
	_, err = Open(dir, Config{SegmentSize: smallSegment, NoSync: true, Files: full})
	if !errors.Is(err, ErrDiskFull) {
		t.Errorf("opened on a full disk: %v", err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*.wal"))
	must(t, err)
	if len(left) != len(names) {
		t.Errorf("of %d segments, there are %d", len(names), len(left))
	}
}

// The list learns that a segment is sealed after the append that has sealed it. An
// agent that ends in between finds nothing damaged, now and later.
func TestASealedSegmentThatTheListDoesNotKnowIsNoDamage(t *testing.T) {
	dir := t.TempDir()
	list := filepath.Join(dir, segmentsName)
	d := openTerm(t, dir, Config{SegmentSize: smallSegment, NoSync: true})
	before, err := os.ReadFile(list)
	must(t, err)
	first := filepath.Join(dir, segment.FileName(d.segments.now().Segments[0]))
	last := uint64(0)
	for sealed := false; !sealed; {
		last++
		must(t, d.StoreLogs(original(last, last)))
		b, err := os.ReadFile(first)
		must(t, err)
		sealed = scanSegment(b).index > 0
	}
	must(t, d.Close())
	must(t, os.WriteFile(list, before, 0o600))
	names, err := filepath.Glob(filepath.Join(dir, "*.wal"))
	must(t, err)
	for _, name := range names {
		if name != first {
			must(t, os.Remove(name))
		}
	}
	for range 3 {
		d := reopen(t, dir)
		if d.End().Index != last || len(d.Report().Notes) > 0 {
			t.Fatalf("it ends at %s, not at %d: %q", d.End(), last, d.Report().Notes)
		}
		last++
		must(t, d.StoreLogs(original(last, last)))
		must(t, d.Close())
	}
}

// One byte far behind the last entry is looked at once, and not for every place
// before it: that would take half an hour.
func TestAByteFarBehindTheEntriesIsFoundAtOnce(t *testing.T) {
	dir := t.TempDir()
	d := openTerm(t, dir, Config{NoSync: true})
	must(t, d.StoreLogs(original(1, 3)))
	must(t, d.Close())
	names, err := filepath.Glob(filepath.Join(dir, "*.wal"))
	must(t, err)
	changed(func(b []byte) []byte { b[len(b)-1] = 1; return b })(t, names[0])
	opened := make(chan *Directory, 1)
	go func() {
		d, err := Open(dir, Config{NoSync: true})
		if err != nil {
			t.Error(err)
		}
		opened <- d
	}()
	select {
	case d = <-opened:
		if d.End().Index != 3 {
			t.Errorf("it ends at %s", d.End())
		}
		must(t, d.Close())
	case <-time.After(time.Minute):
		t.Error("not within a minute")
	}
}

// A named pipe in a file's place is no file, and nobody waits for what it says.
func TestNoNamedPipeIsWaitedFor(t *testing.T) {
	for name, opens := range map[string]bool{voteName: false, floorName: false, segmentsName: false, stampName: false, metaName: true, stateName: true, checkName: true} {
		dir := filled(t, snapshotAt)
		path := filepath.Join(dir, name)
		if opens {
			found, err := filepath.Glob(filepath.Join(dir, snapshotsName, "*", name))
			must(t, err)
			path = found[len(found)-1]
		}
		must(t, errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600)))
		done := make(chan error, 2)
		go func() {
			_, err := Look(dir)
			done <- err
			d, err := Open(dir, Config{SegmentSize: smallSegment, NoSync: true})
			if err == nil {
				err = d.Close()
			}
			done <- err
		}()
		for range 2 {
			select {
			case err := <-done:
				if opens != (err == nil) || !opens && !strings.Contains(err.Error(), name+" is no file") {
					t.Errorf("%s: %v", name, err)
				}
			case <-time.After(time.Minute):
				t.Fatalf("%s is waited for", name)
			}
		}
	}
}
