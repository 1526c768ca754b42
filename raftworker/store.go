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

// LogStore is raft's log on a disk. It is an interface so that an embedder may
// provide another one.
//
// It does not allow gaps between entries (raft.MonotonicLogStore), and is safe for
// concurrent use. After Close every call returns disk.ErrClosed.
type LogStore interface {
	raft.LogStore
	raft.MonotonicLogStore
	io.Closer
}

// DiskState describes the disk of raft's log.
type DiskState struct {
	Err     error         // why nothing is written any more; nil: the disk works
	Writing time.Duration // how long the present write has taken so far; 0: there is no write
	Slow    bool          // several of the last minute's writes took over 500 ms
}

// NewLogStore opens the log in a directory, and creates the directory (0700) if
// there is none. Only the store may use it until Close has returned; it is an error when
// it is in use. noSync omits fsync: see Config.NonSyncedWritesToRaftLog.
func NewLogStore(dir string, noSync bool) (LogStore, error) {
	d, err := raftdir.Open(dir, raftdir.Config{NoSync: noSync})
	if err != nil {
		return nil, err
	}
	return d, nil
}

// NewSnapshotStore opens raft's snapshots below a directory, which it creates
// (0700) if there is none, and keeps the newest retain of them.
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
