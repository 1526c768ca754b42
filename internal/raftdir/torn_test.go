package raftdir

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/segment"

	"github.com/interrex/interrex/internal/disk"
	"github.com/interrex/interrex/internal/raftlog"
)

// The rest of an append that a crash interrupted is not damage: none of it was
// acknowledged. A byte that changed among acknowledged data is reported, even if all
// entries are intact.
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
	appended := frames(whole)
	last, end := appended[len(appended)-2].at, appended[len(appended)-1].at
	for what, c := range map[string]struct {
		change func(b []byte)
		said   bool
	}{
		"nothing":                    {func([]byte) {}, false},
		"half an entry behind it":    {func(b []byte) { copy(b[end+8:], whole[last:last+30]) }, false},
		"a block far behind the end": {func(b []byte) { copy(b[end+4096:], "some bytes") }, false},
		"the first commit":           {func(b []byte) { b[appended[1].at+4] ^= 1 }, true},
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
			must(t, errors.Join(d.Close(), os.Remove(filepath.Join(dir, raftlog.SegmentsName))))
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
	begun := filepath.Join(dir, snapshotsName, "2-7-1795752323562"+raftlog.Unfinished)
	must(t, disk.MakePrivate(begun))
	d, err := Open(dir, Config{SegmentSize: smallSegment, NoSync: true})
	must(t, errors.Join(err, d.Close()))
	if _, err := os.Stat(begun); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an raftlog.Unfinished snapshot is still there: %v", err)
	}

	names, err = filepath.Glob(filepath.Join(dir, "*.wal"))
	must(t, err)
	changed(func(b []byte) []byte { b[8] ^= 1; return b })(t, names[0])
	syncs := 0
	full := faultyVFS{VFS: fs.New(), syncs: &syncs, sync: func() error { return syscall.ENOSPC }}
	_, err = Open(dir, Config{SegmentSize: smallSegment, NoSync: true, Files: full})
	if !errors.Is(err, disk.ErrFull) {
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
	list := filepath.Join(dir, raftlog.SegmentsName)
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
		sealed = slices.ContainsFunc(frames(b), func(f frame) bool { return f.kind == segment.FrameIndex })
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

// A named pipe in a file's place is not a file, and is not read.
func TestNoNamedPipeIsWaitedFor(t *testing.T) {
	for name, opens := range map[string]bool{voteName: false, floorName: false, raftlog.SegmentsName: false, stampName: false, raftlog.MetaName: true, raftlog.StateName: true, raftlog.CheckName: true} {
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
			_, err := Examine(dir)
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
				if opens != (err == nil) || !opens && !strings.Contains(err.Error(), name+" is not a regular file") {
					t.Errorf("%s: %v", name, err)
				}
			case <-time.After(time.Minute):
				t.Fatalf("%s is waited for", name)
			}
		}
	}
}

// A snapshot without a check is verified by its state: its process may have ended
// just before the check was written.
func TestASnapshotProvesItself(t *testing.T) {
	for file, c := range map[string]struct {
		change func(path string) error
		sound  bool
	}{
		raftlog.CheckName: {os.Remove, true},
		raftlog.StateName: {func(path string) error { return os.WriteFile(path, []byte("the state at 7"), 0o600) }, false},
		raftlog.MetaName: {func(path string) error {
			b, err := os.ReadFile(path)
			return errors.Join(err, os.WriteFile(path, append(b, ' '), 0o600))
		}, false},
	} {
		dir := t.TempDir()
		d := openTerm(t, dir, Config{NoSync: true})
		must(t, d.StoreLogs(original(1, 9)))
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

// frame is a frame of a segment's file: its kind and where it is.
type frame struct {
	kind    byte
	at, end int
}

// frames are those of a sound segment.
func frames(b []byte) (all []frame) {
	for at := 32; at < len(b) && b[at] != 0; {
		f := frame{b[at], at, at + 8}
		if f.kind != segment.FrameCommit {
			f.end += (int(binary.LittleEndian.Uint32(b[at+4:])) + 7) / 8 * 8
		}
		all, at = append(all, f), f.end
	}
	return all
}
