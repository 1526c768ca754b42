package raftworker

import (
	"errors"
	"fmt"
	"syscall"
)

// What ends a worker, or is answered by its accessors. None of them is fatal
// to an agent: the engine starts the worker again.
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
	// ErrNoProgress ends a worker that leads, commits nothing, and could not
	// hand leadership over.
	ErrNoProgress = errors.New("leader commits nothing")
	// ErrDiskHung ends a worker one of whose writes has not returned within
	// its deadline. Its directory stays locked until the write has returned.
	ErrDiskHung = errors.New("disk hung")
	// ErrDiskFull ends a worker whose disk, or quota, has no room.
	ErrDiskFull = errors.New("disk full")
	// ErrDiskFailed ends a worker after any other failed write: what a store
	// holds after one is only known once it has been opened again.
	ErrDiskFailed = errors.New("disk failed")
	// ErrStoreClosed is answered by a store after its Close.
	ErrStoreClosed = errors.New("log store is closed")
	// ErrDirectoryInUse is the error of opening a directory that another raft,
	// of this process or another, has open.
	ErrDirectoryInUse = errors.New("directory is in use")
)

// classify makes one of the errors above out of a failed write.
func classify(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrDiskHung), errors.Is(err, ErrStoreClosed):
		return fmt.Errorf("cannot %s: %w", what, err)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		return fmt.Errorf("cannot %s: %w: %w", what, ErrDiskFull, err)
	}
	return fmt.Errorf("cannot %s: %w: %w", what, ErrDiskFailed, err)
}
