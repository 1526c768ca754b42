package raftdir

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft-wal/fs"

	"github.com/interrex/interrex/internal/disk"
	"github.com/interrex/interrex/internal/raftlog"
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

// answered requires that the accessors of a directory do not wait for the disk.
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
				func() error { return d.Promise(raftlog.Position{Term: 9, Index: 9}, 9) },
			} {
				if err := act(); !errors.Is(err, disk.ErrHung) {
					t.Errorf("on a disk that hangs: %v", err)
				}
				answered(t, d)
			}
			if err := d.Close(); !errors.Is(err, disk.ErrHung) {
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
	go func() { syncing <- d.floor.set(raftlog.Position{Term: 1, Index: 1}, 1) }()
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
	if err := d.Close(); !errors.Is(err, disk.ErrHung) {
		t.Errorf("closing: %v", err)
	}
	if _, err := Open(dir, Config{}); !errors.Is(err, disk.ErrInUse) {
		t.Errorf("opened while the rotation hangs: %v", err)
	}
	close(stuck)
	<-d.closed
	d = openTerm(t, dir, Config{SegmentSize: 4096, NoSync: true})
	must(t, d.Close())
}

// raft panics on an error of a read of its log.
func TestAReadOfTheLogThatHangsEndsThisLifeOfRaft(t *testing.T) {
	syncs, stuck := 0, make(chan struct{})
	var hang atomic.Bool
	d := openTerm(t, t.TempDir(), Config{WriteTimeout: 2 * time.Second, Files: faultyVFS{VFS: fs.New(), syncs: &syncs, read: func() {
		if hang.Load() {
			<-stuck
		}
	}}})
	must(t, d.StoreLogs(entries(1, 3)))
	hang.Store(true)
	if _, err := d.TermAt(2); !errors.Is(err, disk.ErrHung) {
		t.Errorf("the term of an entry: %v", err)
	}
	read := make(chan raft.Log, 1)
	go func() {
		var log raft.Log
		if err := d.GetLog(2, &log); err != nil {
			t.Error(err)
		}
		read <- log
	}()
	<-d.Failed()
	if err := d.Failure(); !errors.Is(err, disk.ErrHung) {
		t.Errorf("it failed with %v", err)
	}
	answered(t, d)
	d.Release()
	if log := <-read; log.Type != raft.LogNoop || log.Index != 2 {
		t.Errorf("raft has read %+v", log)
	}
	if err := d.Close(); !errors.Is(err, disk.ErrHung) {
		t.Errorf("closing: %v", err)
	}
	close(stuck)
	<-d.closed
}

// aSnapshot makes one of index 1.
func aSnapshot(t *testing.T, d *Directory) string {
	t.Helper()
	_, nowhere := raft.NewInmemTransport("a")
	sink, err := d.Snapshots().Create(raft.SnapshotVersionMax, 1, 1, raft.Configuration{}, 1, nowhere)
	must(t, err)
	_, err = sink.Write([]byte("all of it"))
	must(t, errors.Join(err, sink.Close()))
	return sink.ID()
}

func TestASnapshotThatCannotBeReadIsGivenUpAtTheDeadline(t *testing.T) {
	d := openTerm(t, t.TempDir(), Config{WriteTimeout: 2 * time.Second})
	id := aSnapshot(t, d)
	_, whole, err := d.Snapshots().Open(id)
	must(t, err)
	content, err := io.ReadAll(whole)
	if err := errors.Join(err, whole.Close()); err != nil || string(content) != "all of it" {
		t.Errorf("it holds %q: %v", content, err)
	}
	stuck := make(chan struct{})
	_, late, err := d.Snapshots().Open(id)
	must(t, err)
	under := late.(*source).under
	late.(*source).under = hungSource{stuck}
	if n, err := late.Read(make([]byte, 9)); n != 0 || !errors.Is(err, disk.ErrHung) {
		t.Errorf("%d bytes were read: %v", n, err)
	}
	close(stuck)
	must(t, under.Close())

	// Opening a pipe waits for the other end.
	state := filepath.Join(d.path, snapshotsName, id, raftlog.StateName)
	must(t, errors.Join(os.Remove(state), syscall.Mkfifo(state, 0o600)))
	if _, _, err := d.Snapshots().Open(id); !errors.Is(err, disk.ErrHung) {
		t.Errorf("opening: %v", err)
	}
	answered(t, d)
	if err := d.Close(); !errors.Is(err, disk.ErrHung) {
		t.Errorf("closing: %v", err)
	}
	end, err := os.OpenFile(state, os.O_WRONLY, 0)
	must(t, errors.Join(err, end.Close()))
	<-d.closed
}

// lateStore opens a snapshot when it may.
type lateStore struct {
	raft.SnapshotStore
	stuck <-chan struct{}
	state *closedOnce
}

func (l lateStore) Open(string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	<-l.stuck
	return new(raft.SnapshotMeta), l.state, nil
}

type closedOnce struct {
	io.Reader
	closed chan struct{}
}

func (c *closedOnce) Close() error { close(c.closed); return nil }

func TestASnapshotThatIsOpenedTooLateIsClosedAgain(t *testing.T) {
	d := openTerm(t, t.TempDir(), Config{WriteTimeout: 2 * time.Second})
	id := aSnapshot(t, d)
	stuck, state := make(chan struct{}), &closedOnce{closed: make(chan struct{})}
	d.snapshots.SnapshotStore = lateStore{d.snapshots.SnapshotStore, stuck, state}
	if _, _, err := d.Snapshots().Open(id); !errors.Is(err, disk.ErrHung) {
		t.Errorf("opening: %v", err)
	}
	close(stuck)
	select {
	case <-state.closed:
	case <-time.After(20 * time.Second):
		t.Error("it stays open")
	}
	_ = d.Close()
	<-d.closed
}

type hungSource struct{ stuck <-chan struct{} }

func (h hungSource) Read([]byte) (int, error) { <-h.stuck; return 0, io.EOF }
func (h hungSource) Close() error             { <-h.stuck; return nil }

// hungSink is a snapshot that is being written, on a disk that waits.
type hungSink struct {
	raft.SnapshotSink
	stuck   <-chan struct{}
	written chan<- string
}

func (h hungSink) Write(b []byte) (int, error) {
	<-h.stuck
	h.written <- string(b)
	return h.SnapshotSink.Write(b)
}
func (h hungSink) Close() error  { <-h.stuck; return h.SnapshotSink.Close() }
func (h hungSink) Cancel() error { <-h.stuck; return h.SnapshotSink.Cancel() }

// hungStore is a store of snapshots, on a disk that waits.
type hungStore struct {
	raft.SnapshotStore
	stuck <-chan struct{}
}

func (h hungStore) Create(raft.SnapshotVersion, uint64, uint64, raft.Configuration, uint64, raft.Transport) (raft.SnapshotSink, error) {
	<-h.stuck
	return nil, errors.New("too late")
}

func TestASnapshotThatCannotBeWrittenIsGivenUpAtTheDeadline(t *testing.T) {
	for what, act := range map[string]func(*Directory, raft.SnapshotSink, <-chan struct{}) error{
		"begin": func(d *Directory, _ raft.SnapshotSink, stuck <-chan struct{}) error {
			d.snapshots.SnapshotStore = hungStore{d.snapshots.SnapshotStore, stuck}
			_, err := d.Snapshots().Create(raft.SnapshotVersionMax, 2, 1, raft.Configuration{}, 1, nil)
			return err
		},
		"write": func(_ *Directory, s raft.SnapshotSink, _ <-chan struct{}) error {
			b := []byte("x")
			_, err := s.Write(b)
			b[0] = 'y' // raft uses it again
			return err
		},
		"finish": func(_ *Directory, s raft.SnapshotSink, _ <-chan struct{}) error { return s.Close() },
		"cancel": func(_ *Directory, s raft.SnapshotSink, _ <-chan struct{}) error { return s.Cancel() },
	} {
		t.Run(what, func(t *testing.T) {
			stuck := make(chan struct{})
			d := openTerm(t, t.TempDir(), Config{WriteTimeout: 2 * time.Second})
			_, nowhere := raft.NewInmemTransport("a")
			made, err := d.Snapshots().Create(raft.SnapshotVersionMax, 1, 1, raft.Configuration{}, 1, nowhere)
			must(t, err)
			s := made.(*sink)
			written := make(chan string, 1)
			s.SnapshotSink = hungSink{s.SnapshotSink, stuck, written}
			if err := act(d, s, stuck); !errors.Is(err, disk.ErrHung) || !errors.Is(d.Failure(), disk.ErrHung) {
				t.Errorf("%v, and the disk has failed with: %v", err, d.Failure())
			}
			if err := d.Close(); !errors.Is(err, disk.ErrHung) {
				t.Errorf("the directory is given up while it may still be written to: %v", err)
			}
			close(stuck)
			<-d.closed
			close(written)
			for late := range written {
				if late != "x" {
					t.Errorf("%q is written late", late)
				}
			}
		})
	}
}

// All of a snapshot is synced when it is finished, which takes a slow disk longer
// the larger it is.
func TestALargeSnapshotHasMoreTimeToBeFinished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := make(chan struct{})
		d := openTerm(t, t.TempDir(), Config{WriteTimeout: 2 * time.Second})
		_, nowhere := raft.NewInmemTransport("a")
		made, err := d.Snapshots().Create(raft.SnapshotVersionMax, 1, 1, raft.Configuration{}, 1, nowhere)
		must(t, err)
		_, err = made.Write(make([]byte, 3*slowDisk))
		must(t, err)
		s, began := made.(*sink), time.Now()
		s.SnapshotSink = hungSink{SnapshotSink: s.SnapshotSink, stuck: stuck}
		if err, took := s.Close(), time.Since(began); !errors.Is(err, disk.ErrHung) || took != 5*time.Second {
			t.Errorf("it was given up after %s: %v", took, err)
		}
		close(stuck)
		_ = d.Close()
		<-d.closed
	})
}
