package raftworker

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/metadb"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"
	"github.com/juju/clock"
)

// SyncMode says whether a write to the log is on disk when it is answered.
type SyncMode bool

// The modes. Without a sync, a crash of the machine (not of the process) may
// lose entries that were answered: a cluster may then forget a lease that it
// has granted, or grant a token twice.
const (
	SyncAfterWrite   SyncMode = false
	NoSyncAfterWrite SyncMode = true
)

// LogStore is raft's log on a disk. It is an interface, and not a type of its
// own, so that an embedder may bring another one.
//
// It tolerates no gap between entries (raft.MonotonicLogStore), and all of it
// may be used by several goroutines. After Close every call answers
// ErrStoreClosed.
type LogStore interface {
	raft.LogStore
	raft.MonotonicLogStore
	io.Closer
}

// LogStoreConfig is what is optional about a log store.
type LogStoreConfig struct {
	Logger Logger      // nil: nothing is logged
	Clock  clock.Clock // of the writes' deadline; nil: the wall clock
	// WriteTimeout is how long a write may take; 0: DefaultWriteTimeout.
	WriteTimeout time.Duration
	// SegmentSize is how many bytes a file of the log has, reserved when it is
	// made; 0: DefaultSegmentSize.
	SegmentSize int
	// Synced is told how long each fsync took; nil: nobody is. It must not
	// block.
	Synced func(time.Duration)
}

// DefaultSegmentSize is small beside raft-wal's own 64 MiB: a lease's entry is
// some hundred bytes, and an idle agent should not reserve more than it will
// fill in a day.
const DefaultSegmentSize = 16 << 20

// NewLogStore opens raft's log in a directory, which it makes (0700) when it
// is not there. The directory is the store's alone until Close has returned;
// the error is ErrDirectoryInUse when somebody has it. A directory that is not
// interrex's, or of another version, is refused with a sentence that says so.
func NewLogStore(dir string, mode SyncMode, cfg LogStoreConfig) (LogStore, error) {
	d, err := openDir(dir, mode, cfg, fs.New())
	if err != nil {
		return nil, err
	}
	return d, nil
}

// directory is an open raft directory: lock, log, term and vote, behind one
// deadline.
type directory struct {
	path   string
	lock   *DirLock
	disk   *disk
	wal    *wal.WAL
	stable *stableStore

	closing sync.Once
	closed  chan struct{} // closed when nothing of it is open any more
	err     error         // of closing; read after closed
}

var _ LogStore = (*directory)(nil)

func openDir(path string, mode SyncMode, cfg LogStoreConfig, under types.VFS) (*directory, error) {
	if cfg.Logger == nil {
		cfg.Logger = discard{}
	}
	if cfg.Clock == nil {
		cfg.Clock = clock.WallClock
	}
	own := osFiles{noSync: mode == NoSyncAfterWrite}
	if err := claimDir(own, path); err != nil {
		return nil, err
	}
	lock, err := LockDir(path, "raft log")
	if err != nil {
		return nil, err
	}
	d := &directory{path: path, lock: lock, disk: newDisk(cfg.Clock, cfg.WriteTimeout), closed: make(chan struct{})}
	if err := d.open(mode, cfg, own, under); err != nil {
		return nil, errors.Join(err, lock.Unlock())
	}
	return d, nil
}

func (d *directory) open(mode SyncMode, cfg LogStoreConfig, own files, under types.VFS) error {
	stable, err := openStable(d.path, d.disk, own)
	if err != nil {
		return err
	}
	size := cfg.SegmentSize
	if size <= 0 {
		size = DefaultSegmentSize
	}
	failed := func(what string, err error) { d.disk.fail(classify(what, err)) }
	var list metadb.BoltMetaDB
	files := vfs{VFS: under, mode: mode, synced: cfg.Synced, failed: failed}
	log, err := wal.Open(d.path,
		wal.WithLogger(NewHCLogger("wal", cfg.Logger)),
		wal.WithSegmentSize(size),
		wal.WithSegmentFiler(segment.NewFiler(d.path, files)),
		wal.WithMetaStore(metaStore{MetaStore: &list, dir: d.path, vfs: files, failed: failed}))
	if err != nil {
		// The log leaves its list open, and the next try would wait for its lock.
		return fmt.Errorf("cannot open raft log in %s: %w", d.path, classify("read it", errors.Join(err, list.Close())))
	}
	d.stable, d.wal = stable, log
	return nil
}

// FirstIndex gives the index of the oldest entry; 0: there is none.
func (d *directory) FirstIndex() (uint64, error) {
	if err := d.disk.readable(); err != nil {
		return 0, err
	}
	return d.wal.FirstIndex()
}

// LastIndex gives the index of the newest entry; 0: there is none.
func (d *directory) LastIndex() (uint64, error) {
	if err := d.disk.readable(); err != nil {
		return 0, err
	}
	return d.wal.LastIndex()
}

// GetLog reads an entry; the error is raft.ErrLogNotFound when there is none.
func (d *directory) GetLog(index uint64, log *raft.Log) error {
	if err := d.disk.readable(); err != nil {
		return err
	}
	err := d.wal.GetLog(index, log)
	if errors.Is(err, wal.ErrNotFound) {
		return raft.ErrLogNotFound
	}
	return err
}

// StoreLog writes one entry.
func (d *directory) StoreLog(log *raft.Log) error { return d.StoreLogs([]*raft.Log{log}) }

// StoreLogs writes entries; they are on disk when it returns nil. After an
// error nothing is written any more until the store is opened again.
func (d *directory) StoreLogs(logs []*raft.Log) error {
	return d.disk.write("append to raft log", func() error { return d.wal.StoreLogs(logs) })
}

// DeleteRange removes the oldest or the newest entries.
func (d *directory) DeleteRange(first, last uint64) error {
	return d.disk.write("truncate raft log", func() error { return d.wal.DeleteRange(first, last) })
}

// IsMonotonic says that the store tolerates no gap.
func (d *directory) IsMonotonic() bool { return d.wal.IsMonotonic() }

// Close refuses every later call, closes the files and gives the directory up.
// While a write hangs it returns ErrDiskHung at once; the directory is given
// up as soon as that write has returned, and not before.
func (d *directory) Close() error {
	d.disk.close()
	d.disk.release()
	drained := d.disk.drained()
	d.closing.Do(func() { go d.closeWhen(drained) })
	if errors.Is(d.disk.failure(), ErrDiskHung) {
		select {
		case <-d.closed:
		default:
			return fmt.Errorf("cannot close raft log: %w: a write has not returned", ErrDiskHung)
		}
	}
	<-d.closed
	return d.err
}

func (d *directory) closeWhen(drained <-chan struct{}) {
	<-drained
	d.err = errors.Join(d.wal.Close(), d.lock.Unlock())
	close(d.closed)
}

// NewSnapshotStore opens raft's snapshots under a directory, which it makes
// (0700) when it is not there, and keeps the newest retain of them.
func NewSnapshotStore(dir string, retain int, logger Logger) (raft.SnapshotStore, error) {
	if logger == nil {
		logger = discard{}
	}
	if err := makePrivate(filepath.Join(dir, "snapshots")); err != nil {
		return nil, fmt.Errorf("cannot open snapshot store: %w", err)
	}
	store, err := raft.NewFileSnapshotStoreWithLogger(dir, retain, NewHCLogger("snapshot", logger))
	if err != nil {
		return nil, fmt.Errorf("cannot open snapshot store: %w", err)
	}
	return store, nil
}
