package raftworker

import (
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/interrex/interrex/internal/hclogger"
	"github.com/interrex/interrex/internal/raftdir"
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
// disk.ErrClosed.
type LogStore interface {
	raft.LogStore
	raft.MonotonicLogStore
	io.Closer
}

// DiskState says how the disk behind raft's log is.
type DiskState struct {
	Err     error         // why nothing is written any more; nil: all is well
	Writing time.Duration // how long the write under way has taken so far; 0: none is
	Slow    bool          // several of the last minute's writes took over 500 ms
}

// NewLogStore opens the log in a directory, which it makes (0700) when it is not
// there. The directory is the store's alone until its Close has returned; the
// error is ErrDirectoryInUse when somebody has it.
func NewLogStore(dir string, mode SyncMode) (LogStore, error) {
	d, err := raftdir.Open(dir, raftdir.Config{NoSync: mode == NoSyncAfterWrite})
	if err != nil {
		return nil, err
	}
	return d, nil
}

// NewSnapshotStore opens raft's snapshots under a directory, which it makes
// (0700) when it is not there, and keeps the newest retain of them.
func NewSnapshotStore(dir string, retain int, logger Logger) (raft.SnapshotStore, error) {
	words := hclog.NewNullLogger()
	if logger != nil {
		words = hclogger.New("snapshot", logger)
	}
	store, err := raft.NewFileSnapshotStoreWithLogger(dir, retain, words)
	if err != nil {
		return nil, fmt.Errorf("cannot open snapshot store: %w", err)
	}
	return store, nil
}
