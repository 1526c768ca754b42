package raftdir

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft-wal/types"

	"github.com/interrex/interrex/internal/disk"
	"github.com/interrex/interrex/internal/raftlog"
)

func (d *Directory) mustFloor(t *testing.T, want raftlog.Position) {
	t.Helper()
	if got := d.Floor().Position; got != want {
		t.Errorf("the floor is %s, want %s", got, want)
	}
}

func TestTheFloorFollowsAConflictAndNotAQuarantine(t *testing.T) {
	d := openTerm(t, t.TempDir(), Config{NoSync: true})
	must(t, d.StoreLogs(entries(1, 10)))
	d.mustFloor(t, raftlog.Position{Term: 1, Index: 10})
	must(t, d.DeleteRange(8, 10)) // they conflict with a leader's
	d.mustFloor(t, raftlog.Position{Term: 1, Index: 7})
	if d.Quarantined() {
		t.Error("what was cut rightly is missing")
	}
	// It has stored more, as another agent says.
	must(t, d.Promise(raftlog.Position{Term: 1, Index: 20}, 1))
	must(t, d.DeleteRange(5, 7))
	d.mustFloor(t, raftlog.Position{Term: 1, Index: 20})
	if !d.Quarantined() || d.End().Index != 4 {
		t.Errorf("it ends at %s, quarantined: %v", d.End(), d.Quarantined())
	}
	must(t, d.StoreLogs(entries(5, 15)))
	if !d.Quarantined() {
		t.Error("the quarantine ends before the floor")
	}
	must(t, d.StoreLogs(entries(20, 1)))
	if d.Quarantined() {
		t.Error("the quarantine does not end at the floor")
	}
	must(t, d.Close())
}

func TestAPromiseIsTakenUpUnlessItIsOld(t *testing.T) {
	dir := t.TempDir()
	d := openTerm(t, dir, Config{})
	must(t, d.StoreLogs(entries(1, 10)))
	must(t, d.Promise(raftlog.Position{Term: 1, Index: 9}, 1)) // it has that
	must(t, d.Stable().SetUint64([]byte(keyCurrentTerm), 3))
	must(t, d.DeleteRange(6, 10))
	// Heard before the floor was written, in term 3: it was cut since.
	must(t, d.Promise(raftlog.Position{Term: 1, Index: 10}, 2))
	d.mustFloor(t, raftlog.Position{Term: 1, Index: 5})
	if d.Quarantined() {
		t.Error("what was cut rightly is missing")
	}
	must(t, d.Promise(raftlog.Position{Term: 3, Index: 8}, 3))
	d.mustFloor(t, raftlog.Position{Term: 3, Index: 8})
	if !d.Quarantined() {
		t.Error("no quarantine")
	}
	must(t, d.Close())
	d, err := Open(dir, Config{})
	must(t, err)
	d.mustFloor(t, raftlog.Position{Term: 3, Index: 8})
	if !d.Quarantined() {
		t.Error("no quarantine after a restart")
	}
	must(t, d.Close())
}

func TestACopiedDirectoryIsKnownUntilItIsTrusted(t *testing.T) {
	home, copied := t.TempDir(), filepath.Join(t.TempDir(), "raft")
	d := openTerm(t, home, Config{})
	if d.Copied() {
		t.Error("a new one is a copy")
	}
	must(t, d.Close())
	must(t, os.CopyFS(copied, os.DirFS(home)))
	for range 2 {
		d, err := Open(copied, Config{})
		must(t, err)
		if !d.Copied() {
			t.Fatal("a copy is not known")
		}
		must(t, d.Close())
	}
	d, err := Open(copied, Config{})
	must(t, err)
	must(t, d.Trust())
	if d.Copied() {
		t.Error("it is not trusted")
	}
	must(t, d.Close())
	for _, dir := range []string{copied, home} {
		d, err = Open(dir, Config{})
		must(t, err)
		if d.Copied() {
			t.Errorf("%s is a copy", dir)
		}
		must(t, d.Close())
	}
}

func TestADamagedEntryFailsTheDisk(t *testing.T) {
	dir := t.TempDir()
	d := openTerm(t, dir, Config{NoSync: true})
	must(t, d.StoreLogs(original(1, 30)))
	files, err := filepath.Glob(filepath.Join(dir, "*.wal"))
	must(t, err)
	changed(func(b []byte) []byte { b[200] ^= 1; return b })(t, files[0])
	read := make(chan error, 1)
	go func() {
		var log raft.Log
		for i := uint64(1); i <= 30; i++ {
			if err := d.GetLog(i, &log); err != nil {
				read <- err
				return
			}
			if log.Type == raft.LogNoop {
				read <- nil
				return
			}
		}
		read <- errors.New("the damage was read as an entry")
	}()
	<-d.Failed()
	if err := d.Failure(); !errors.Is(err, disk.ErrDamaged) {
		t.Error(err)
	}
	select {
	case err := <-read:
		t.Fatalf("the read did not wait until raft is cut off: %v", err)
	default:
	}
	d.Release()
	must(t, <-read)
	must(t, d.Close())
}

func TestTheListOfSegmentsWaitsForTheFloor(t *testing.T) {
	path, broken := filepath.Join(t.TempDir(), raftlog.SegmentsName), errors.New("the floor cannot be synced")
	failed := 0
	s := &segments{path: path, files: disk.OS{}, failed: func(string, error) { failed++ }, rotated: func() error { return broken }}
	if err := s.CommitState(types.PersistentState{NextSegmentID: 7}); !errors.Is(err, broken) || failed != 1 {
		t.Errorf("%v, reported %d times", err, failed)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it was written: %v", err)
	}
	s.rotated = func() error { return nil }
	must(t, s.CommitState(types.PersistentState{NextSegmentID: 7}))
	if s.now().NextSegmentID != 7 {
		t.Errorf("%+v", s.now())
	}
}

func TestALogThatEndsBeforeItsFloorIsInQuarantine(t *testing.T) {
	dir := t.TempDir()
	d := openTerm(t, dir, Config{NoSync: true})
	must(t, d.StoreLogs(original(1, 30)))
	must(t, d.Close())
	files, err := filepath.Glob(filepath.Join(dir, "*.wal"))
	must(t, err)
	changed(func(b []byte) []byte { b[bytes.Index(b, []byte("entry 20."))] ^= 1; return b })(t, files[0])
	for range 2 { // and at the second start
		d, err = Open(dir, Config{NoSync: true})
		must(t, err)
		d.mustFloor(t, raftlog.Position{Term: 1, Index: 30})
		if !d.Quarantined() || d.End().Index != 19 || len(d.Report().Notes) == 0 {
			t.Errorf("it ends at %s, quarantined: %v: %q", d.End(), d.Quarantined(), d.Report().Notes)
		}
		mustHold(t, d, "the rest", 0)
		must(t, d.Close())
	}
}

func TestADamagedListOfSegmentsIsMadeAgain(t *testing.T) {
	dir := t.TempDir()
	d := openTerm(t, dir, Config{NoSync: true})
	must(t, d.StoreLogs(original(1, 30)))
	must(t, d.Close())
	changed(func(b []byte) []byte { b[6] ^= 1; return b })(t, filepath.Join(dir, raftlog.SegmentsName))
	d, err := Open(dir, Config{NoSync: true})
	must(t, err)
	if d.Quarantined() || d.End().Index != 30 || len(d.Report().Notes) == 0 {
		t.Errorf("it ends at %s, quarantined: %v: %q", d.End(), d.Quarantined(), d.Report().Notes)
	}
	must(t, d.Close())
}

func TestALostFloorIsAWipedDisk(t *testing.T) {
	for name, do := range map[string]func(b []byte) []byte{
		"a slot is zeroed": func(b []byte) []byte { clear(b[:floorSlot]); return b },
		"it is cut":        func(b []byte) []byte { return b[:floorSlot] },
		"it is empty":      func(b []byte) []byte { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			d := openTerm(t, dir, Config{NoSync: true})
			must(t, d.StoreLogs(entries(1, 10)))
			must(t, d.Close())
			changed(do)(t, filepath.Join(dir, floorName))
			if _, err := Open(dir, Config{NoSync: true}); !errors.Is(err, ErrForgotten) {
				t.Errorf("it opens: %v", err)
			}
		})
	}
}

func TestASnapshotRaisesTheFloorAndTakesNoEndBack(t *testing.T) {
	d := openTerm(t, t.TempDir(), Config{NoSync: true})
	must(t, d.StoreLogs(original(1, 10)))
	takeSnapshot(t, d, 5)
	d.mustFloor(t, raftlog.Position{Term: 1, Index: 10})
	if d.End().Index != 10 {
		t.Errorf("after a snapshot of 5, it ends at %s", d.End())
	}
	takeSnapshot(t, d, 20) // a leader's
	d.mustFloor(t, raftlog.Position{Term: 1, Index: 20})
	if d.End().Index != 20 {
		t.Errorf("after a snapshot of 20, it ends at %s", d.End())
	}
	must(t, d.Close())
}

// raft clears its log once a snapshot replaces all of it: that is not a conflict, and
// what others have learned still counts.
func TestTheFloorStaysWhereASnapshotStandsForTheLog(t *testing.T) {
	d := openTerm(t, t.TempDir(), Config{NoSync: true})
	must(t, d.StoreLogs(original(1, 10)))
	must(t, d.Stable().SetUint64([]byte(keyCurrentTerm), 3))
	takeSnapshot(t, d, 10)
	must(t, d.DeleteRange(1, 10))
	if want := (raftlog.Floor{Position: raftlog.Position{Term: 1, Index: 10}, Since: 1}); d.Floor() != want {
		t.Errorf("the floor is %+v, want %+v", d.Floor(), want)
	}
	must(t, d.Close())
}

func TestTheFloorIsNotLoweredBehindASnapshot(t *testing.T) {
	d := openTerm(t, t.TempDir(), Config{NoSync: true})
	must(t, d.StoreLogs(original(1, 10)))
	takeSnapshot(t, d, 7)
	must(t, d.DeleteRange(5, 10))
	d.mustFloor(t, raftlog.Position{Term: 1, Index: 7})
	if d.End().Index != 7 {
		t.Errorf("it ends at %s", d.End())
	}
	must(t, d.Close())
}

// The floor keeps the term in which this agent wrote it: what a second agent has
// learned in an earlier term than the first one counts too.
func TestEachPromiseIsTakenUp(t *testing.T) {
	d := openTerm(t, t.TempDir(), Config{NoSync: true})
	must(t, d.StoreLogs(entries(1, 10)))
	must(t, d.Promise(raftlog.Position{Term: 1, Index: 20}, 3))
	must(t, d.Promise(raftlog.Position{Term: 1, Index: 30}, 2))
	d.mustFloor(t, raftlog.Position{Term: 1, Index: 30})
	must(t, d.Close())
}

// broken is a floor on a disk that fails.
type broken struct {
	floorFile
	write, sync error
	syncs       atomic.Int64
}

func (b *broken) WriteAt(p []byte, at int64) (int, error) {
	if b.write != nil {
		return 0, b.write
	}
	return b.floorFile.WriteAt(p, at)
}

func (b *broken) Sync() error {
	b.syncs.Add(1)
	return errors.Join(b.sync, b.floorFile.Sync())
}

func TestAPromiseThatCannotBeKeptFailsTheDisk(t *testing.T) {
	d := openTerm(t, t.TempDir(), Config{NoSync: true})
	full := errors.New("no space")
	d.floor.onto(&broken{floorFile: d.floor.file, write: full})
	if err := d.Promise(raftlog.Position{Term: 1, Index: 9}, 1); !errors.Is(err, full) {
		t.Errorf("it is taken up: %v", err)
	}
	if err := d.Failure(); !errors.Is(err, full) {
		t.Errorf("the disk has not failed: %v", err)
	}
	must(t, d.Close())
}

func TestTheFloorIsSyncedOnceAPeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := openTerm(t, t.TempDir(), Config{})
		const pause = 2*floorPeriod + floorPeriod/4 // ends between two syncs
		file := &broken{floorFile: d.floor.file}
		d.floor.onto(file)
		for i := range 3 {
			must(t, d.StoreLogs(entries(1+2*i, 1)))
			must(t, d.StoreLogs(entries(2+2*i, 1)))
			time.Sleep(pause)
			if n := file.syncs.Load(); n != int64(i+1) {
				t.Errorf("after %d periods with entries, it was synced %d times", i+1, n)
			}
		}
		must(t, d.Promise(raftlog.Position{Term: 1, Index: 50}, 1))
		if n := file.syncs.Load(); n != 4 {
			t.Errorf("a promise is not on disk when it is taken up: synced %d times", n)
		}
		file.sync = errors.New("input/output error")
		must(t, d.StoreLogs(entries(7, 45)))
		time.Sleep(pause)
		if err := d.Failure(); !errors.Is(err, file.sync) {
			t.Errorf("a floor that cannot be synced does not fail the disk: %v", err)
		}
		file.sync = nil
		must(t, d.Close())
	})
}

// A write that is torn leaves the floor before it: slots are written by turns, and
// of a slot's two copies the newer one counts, or the one that is whole.
func TestATornFloorLeavesTheOneBefore(t *testing.T) {
	dir := t.TempDir()
	d := openTerm(t, dir, Config{NoSync: true})
	must(t, d.StoreLogs(entries(1, 9)))
	must(t, d.StoreLogs(entries(10, 1)))
	must(t, d.Close())
	b, err := os.ReadFile(filepath.Join(dir, floorName))
	must(t, err)
	first, _, _ := decodeSlot(b[:floorSlot])
	second, _, _ := decodeSlot(b[floorSlot:])
	if min(first.Index, second.Index) != 9 || max(first.Index, second.Index) != 10 {
		t.Errorf("its slots are of %s and %s", first.Position, second.Position)
	}
	for _, at := range []int{0, floorSector} {
		torn := bytes.Clone(b)
		torn[at+10] ^= 1
		torn[floorSlot+at+10] ^= 1
		must(t, os.WriteFile(filepath.Join(dir, floorName), torn, 0o600))
		d, err := Open(dir, Config{NoSync: true})
		must(t, err)
		d.mustFloor(t, raftlog.Position{Term: 1, Index: 10})
		must(t, d.Close())
	}
	half := make([]byte, floorSlot)
	fillSlot(half, raftlog.Floor{Position: raftlog.Position{Term: 1, Index: 9}}, 7)
	copy(half, appendFloor(nil, raftlog.Floor{Position: raftlog.Position{Term: 1, Index: 10}}, 9))
	if f, turn, ok := decodeSlot(half); f.Index != 10 || turn != 9 || !ok {
		t.Errorf("half written, it is %+v of turn %d, %v", f, turn, ok)
	}
}

func TestTheFloorIsOnDiskOnceItIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := openTerm(t, t.TempDir(), Config{})
		file := &broken{floorFile: d.floor.file}
		d.floor.onto(file)
		must(t, d.StoreLogs(entries(1, 10)))
		must(t, d.Close())
		if n := file.syncs.Load(); n != 1 {
			t.Errorf("it was synced %d times", n)
		}
	})
}
