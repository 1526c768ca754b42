package raftdir

import (
	"errors"
	"testing"
	"time"

	"github.com/hashicorp/raft-wal/fs"
)

// hungFloor is a floor on a disk whose writes or syncs wait.
type hungFloor struct {
	floorFile
	write, sync <-chan struct{} // nil: they do not wait
}

func (h hungFloor) WriteAt(b []byte, at int64) (int, error) {
	if h.write != nil {
		<-h.write
	}
	return h.floorFile.WriteAt(b, at)
}

func (h hungFloor) Sync() error {
	if h.sync != nil {
		<-h.sync
	}
	return h.floorFile.Sync()
}

func (o *floor) onto(f floorFile) {
	o.syncing.Lock()
	defer o.syncing.Unlock()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.file = f
}

// answered demands that what others ask of a directory waits for no disk.
func answered(t *testing.T, d *Directory) {
	t.Helper()
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		d.End()
		d.Floor()
		d.Quarantined()
		d.Copied()
		d.Term()
		d.Disk()
	}()
	select {
	case <-asked:
	case <-time.After(10 * time.Second):
		t.Fatal("a question waits for the disk")
	}
}

func TestAHungFloorHoldsUpNobodyWhoAsks(t *testing.T) {
	for what, hang := range map[string]func(*hungFloor, <-chan struct{}){
		"write": func(h *hungFloor, stuck <-chan struct{}) { h.write = stuck },
		"sync":  func(h *hungFloor, stuck <-chan struct{}) { h.sync = stuck },
	} {
		t.Run(what, func(t *testing.T) {
			stuck := make(chan struct{})
			d := openTerm(t, t.TempDir(), Config{WriteTimeout: 2 * time.Second})
			must(t, d.StoreLogs(entries(1, 3)))
			h := hungFloor{floorFile: d.floor.file}
			hang(&h, stuck)
			d.floor.onto(h)
			for _, act := range []func() error{
				func() error { return d.DeleteRange(3, 3) },
				func() error { return d.Promise(Position{Term: 9, Index: 9}, 9) },
			} {
				if err := act(); !errors.Is(err, ErrDiskHung) {
					t.Errorf("on a disk that hangs: %v", err)
				}
				answered(t, d)
			}
			if err := d.Close(); !errors.Is(err, ErrDiskHung) {
				t.Errorf("closing: %v", err)
			}
			close(stuck)
			<-d.closed
		})
	}
}

func TestAnAppendDoesNotWaitForTheFloorsSync(t *testing.T) {
	stuck := make(chan struct{})
	d := openTerm(t, t.TempDir(), Config{})
	syncing := make(chan error, 1)
	must(t, d.StoreLogs(entries(1, 1)))
	d.floor.onto(hungFloor{floorFile: d.floor.file, sync: stuck})
	go func() { syncing <- d.floor.set(Position{Term: 1, Index: 1}, 1) }()
	for d.floor.syncing.TryLock() {
		d.floor.syncing.Unlock()
		time.Sleep(time.Millisecond)
	}
	if err := d.StoreLogs(entries(2, 1)); err != nil {
		t.Errorf("an append beside a sync of the floor: %v", err)
	}
	close(stuck)
	must(t, errors.Join(<-syncing, d.Close()))
}

// raft-wal makes the next segment in the background, under the lock that its
// Close wants.
func TestClosingWhileTheLogRotatesOnAHungDisk(t *testing.T) {
	dir, syncs := t.TempDir(), 0
	began, stuck := make(chan struct{}, 99), make(chan struct{})
	hang := false
	d := openTerm(t, dir, Config{SegmentSize: 4096, WriteTimeout: 2 * time.Second, NoSync: true, Files: faultyVFS{VFS: fs.New(), syncs: &syncs, create: func() error {
		if hang {
			began <- struct{}{}
			<-stuck
		}
		return nil
	}}})
	must(t, d.StoreLogs(entries(1, 1)))
	hang = true
	for i := 2; len(began) == 0; i++ {
		if err := d.StoreLogs(entries(i, 1)); err != nil {
			break // the rotation came first
		}
	}
	answered(t, d)
	if err := d.Close(); !errors.Is(err, ErrDiskHung) {
		t.Errorf("closing: %v", err)
	}
	if _, err := Open(dir, Config{}); !errors.Is(err, ErrDirectoryInUse) {
		t.Errorf("opened while the rotation hangs: %v", err)
	}
	close(stuck)
	<-d.closed
	d = openTerm(t, dir, Config{SegmentSize: 4096, NoSync: true})
	must(t, d.Close())
}
