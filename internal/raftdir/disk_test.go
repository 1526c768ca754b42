package raftdir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/types"

	"github.com/interrex/interrex/internal/disk"
)

// faultyVFS is the real file system with an fsync that can be made to block or
// fail, and a counter.
type faultyVFS struct {
	types.VFS
	syncs  *int
	sync   func() error // before each fsync
	create func() error
	read   func() // before each read
}

func (f faultyVFS) Create(dir, name string, size uint64) (types.WritableFile, error) {
	if f.create != nil {
		if err := f.create(); err != nil {
			return nil, err
		}
	}
	file, err := f.VFS.Create(dir, name, size)
	return faultyFile{file, f}, err
}

func (f faultyVFS) OpenWriter(dir, name string) (types.WritableFile, error) {
	file, err := f.VFS.OpenWriter(dir, name)
	return faultyFile{file, f}, err
}

type faultyFile struct {
	types.WritableFile
	vfs faultyVFS
}

func (f faultyFile) ReadAt(b []byte, at int64) (int, error) {
	if f.vfs.read != nil {
		f.vfs.read()
	}
	return f.WritableFile.ReadAt(b, at)
}

func (f faultyFile) Sync() error {
	*f.vfs.syncs++
	if f.vfs.sync != nil {
		if err := f.vfs.sync(); err != nil {
			return err
		}
	}
	return f.WritableFile.Sync()
}

// openTerm opens a directory whose raft is in term 1.
func openTerm(t *testing.T, dir string, cfg Config) *Directory {
	t.Helper()
	d, err := Open(dir, cfg)
	if err == nil {
		err = d.Stable().SetUint64([]byte(keyCurrentTerm), 1)
	}
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func entries(first, n int) []*raft.Log {
	var logs []*raft.Log
	for i := range n {
		logs = append(logs, &raft.Log{Index: uint64(first + i), Term: 1, Data: fmt.Appendf(nil, "entry %d", first+i)})
	}
	return logs
}

func TestEveryWriteIsSyncedOnlyInThatMode(t *testing.T) {
	for _, noSync := range []bool{false, true} {
		syncs, observed := 0, 0
		cfg := Config{NoSync: noSync, Synced: func(time.Duration) { observed++ }}
		cfg.Files = faultyVFS{VFS: fs.New(), syncs: &syncs}
		d := openTerm(t, t.TempDir(), cfg)
		before := syncs
		for i := range 20 {
			if err := d.StoreLogs(entries(1+3*i, 3)); err != nil {
				t.Fatal(err)
			}
		}
		want := 20
		if noSync {
			want = 0
		}
		if syncs-before != want || observed < want {
			t.Errorf("noSync %v: %d fsyncs for 20 writes, %d observed", noSync, syncs-before, observed)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAHungDirectoryStaysLockedUntilTheWriteHasReturned(t *testing.T) {
	dir, syncs := t.TempDir(), 0
	stuck := make(chan struct{})
	hang := false
	d := openTerm(t, dir, Config{WriteTimeout: 2 * time.Second, Files: faultyVFS{VFS: fs.New(), syncs: &syncs, sync: func() error {
		if hang {
			<-stuck
		}
		return nil
	}}})
	hang = true
	if err := d.StoreLogs(entries(1, 1)); !errors.Is(err, disk.ErrHung) {
		t.Fatal(err)
	}
	if err := d.Close(); !errors.Is(err, disk.ErrHung) {
		t.Fatalf("closing while a write hangs: %v", err)
	}
	if _, err := Open(dir, Config{}); !errors.Is(err, disk.ErrInUse) {
		t.Fatalf("opened while a write hangs: %v", err)
	}
	close(stuck)
	<-d.closed
	again := openTerm(t, dir, Config{})
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestAFullDiskIsATypedErrorAndHeals(t *testing.T) {
	dir, syncs := t.TempDir(), 0
	full := false
	d := openTerm(t, dir, Config{SegmentSize: 4096, Files: faultyVFS{VFS: fs.New(), syncs: &syncs, create: func() error {
		if full {
			return &os.PathError{Op: "fallocate", Path: "x", Err: syscall.ENOSPC}
		}
		return nil
	}}})
	full = true
	stored := 0
	var err error
	for i := 1; i < 10000; i++ {
		if err = d.StoreLogs(entries(i, 1)); err != nil {
			break
		}
		stored = i
	}
	if !errors.Is(err, disk.ErrFull) || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("after %d entries: %v", stored, err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	again := openTerm(t, dir, Config{SegmentSize: 4096})
	defer again.Close()
	if last, err := again.LastIndex(); err != nil || last < uint64(stored) {
		t.Fatalf("of %d entries that were answered, %d are there: %v", stored, last, err)
	}
}

func TestTheLogSurvivesReopening(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "raft")
	s := openTerm(t, dir, Config{})
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Fatalf("%v %v", info.Mode(), err)
	}
	must(t, s.StoreLogs(entries(1, 10)))
	takeSnapshot(t, s, 3)
	if err := errors.Join(s.DeleteRange(1, 3), s.DeleteRange(9, 10), s.Close()); err != nil {
		t.Fatal(err)
	}
	s = openTerm(t, dir, Config{})
	defer s.Close()
	first, _ := s.FirstIndex()
	last, _ := s.LastIndex()
	var log raft.Log
	if err := s.GetLog(5, &log); err != nil || first != 4 || last != 8 || string(log.Data) != "entry 5" {
		t.Fatalf("%d-%d, %q, %v", first, last, log.Data, err)
	}
	if err := s.GetLog(9, &log); !errors.Is(err, raft.ErrLogNotFound) {
		t.Fatal(err)
	}
}

func TestAClosedStoreIsNotReached(t *testing.T) {
	s := openTerm(t, t.TempDir(), Config{})
	if err := errors.Join(s.StoreLogs(entries(1, 1)), s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	_, first := s.FirstIndex()
	_, last := s.LastIndex()
	for _, err := range []error{first, last, s.GetLog(1, new(raft.Log)), s.StoreLog(entries(2, 1)[0]), s.DeleteRange(1, 1)} {
		if !errors.Is(err, disk.ErrClosed) {
			t.Error(err)
		}
	}
}

// raft panics on an error of GetLog.
func TestAClosedLogHasHarmlessEntriesForARaftThatWasReleased(t *testing.T) {
	s := openTerm(t, t.TempDir(), Config{})
	if err := s.StoreLogs(entries(1, 1)); err != nil {
		t.Fatal(err)
	}
	s.Release()
	if err := s.Failure(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var log raft.Log
	if err := s.GetLog(1, &log); err != nil || log.Index != 1 || log.Type != raft.LogNoop || len(log.Data) != 0 {
		t.Fatal(log, err)
	}
	if err := s.Failure(); !errors.Is(err, disk.ErrClosed) { // see raftrules.Replica
		t.Fatalf("what is read next would reach the state: %v", err)
	}
}
