package raftworker

import (
	"errors"

	"github.com/interrex/interrex/internal/disk"
	"github.com/interrex/interrex/internal/raftrules"
	"github.com/interrex/interrex/leaseapplier"
)

// What ends a worker, or is answered by its accessors. None of them is fatal to an agent: the engine starts the worker again.
var (
	// ErrWorkerStopped is answered by Raft and LogStore after a clean stop.
	ErrWorkerStopped = errors.New("raft worker stopped")
	// ErrStartTimeout is the error of a NewWorker whose loop did not come to
	// serve within LoopTimeout. A start that fails says why instead.
	ErrStartTimeout = errors.New("timed out waiting for worker loop")
	// ErrNoLeaderTimeout ends a worker that has heard of no leader for
	// Config.NoLeaderTimeout.
	ErrNoLeaderTimeout = errors.New("timed out waiting for leader contact")
	// ErrRaftShutdown ends a worker whose raft has stopped by itself.
	ErrRaftShutdown = errors.New("raft shutdown")
	// errNoProgress ends a worker that leads, commits nothing, and could not
	// hand leadership over.
	errNoProgress = errors.New("leader commits nothing")
	// errNoHeir is why leadership is not handed over: no other voter that answers
	// may lead.
	errNoHeir = errors.New("no other voter that answers may lead")
	// ErrConflict ends a worker whose log has another entry than the leader's
	// snapshot: the log is cut from there on before the next start.
	ErrConflict = raftrules.ErrConflict
	// errLogFull ends a worker whose state has halted and whose log has become
	// too long.
	errLogFull = errors.New("a halted agent takes no further part in raft: its log is too long")
)

// What ends a worker, or keeps it from starting, because of its disk.
var (
	// ErrDiskHung: a call on the disk has not returned within its deadline. The
	// directory stays locked until it has.
	ErrDiskHung = disk.ErrHung
	// ErrDiskFull: the disk, or a quota, has no room for a write.
	ErrDiskFull = disk.ErrFull
	// ErrDiskFailed: another write has failed.
	ErrDiskFailed = disk.ErrFailed
	// ErrDirectoryInUse: another worker, of this process or another, has the
	// directory.
	ErrDirectoryInUse = disk.ErrInUse
)

// NotLeaderError is leaseapplier.NotLeaderError.
type NotLeaderError = leaseapplier.NotLeaderError

// IsNotLeaderError is leaseapplier.IsNotLeaderError.
func IsNotLeaderError(err error) bool { return leaseapplier.IsNotLeaderError(err) }

// NewNotLeaderError is leaseapplier.NewNotLeaderError.
func NewNotLeaderError(serverAddress, serverID string) error {
	return leaseapplier.NewNotLeaderError(serverAddress, serverID)
}
