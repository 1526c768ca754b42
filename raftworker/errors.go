package raftworker

import (
	"errors"

	"github.com/interrex/interrex/internal/disk"
)

// The errors that end a worker or that its accessors return. None of them is fatal
// to an agent: the engine starts the worker again.
var (
	// ErrWorkerStopped is returned by Raft and LogStore after a clean stop.
	ErrWorkerStopped = errors.New("raft worker stopped")
	// ErrStartTimeout is returned by NewWorker when its loop did not serve within
	// LoopTimeout. A start that fails earlier returns the reason instead.
	ErrStartTimeout = errors.New("timed out waiting for worker loop")
	// ErrNoLeaderTimeout ends a worker that has had no contact with a leader for
	// Config.NoLeaderTimeout.
	ErrNoLeaderTimeout = errors.New("timed out waiting for leader contact")
	// errRaftShutdown ends a worker whose raft has stopped by itself.
	errRaftShutdown = errors.New("raft shutdown")
	// errNoProgress ends a worker that leads, commits nothing, and could not
	// hand leadership over.
	errNoProgress = errors.New("leader commits nothing")
	// errNoHeir is returned when leadership cannot be handed over, because no other
	// responding voter may lead.
	errNoHeir = errors.New("no other responding voter may lead")
	// errLogFull ends a worker whose state has halted and whose log is too long.
	errLogFull = errors.New("a halted agent takes no further part in raft: its log is too long")
)

// The errors of the disk that end a worker or keep it from starting.
var (
	// ErrDiskHung: a call to the disk has not returned within its deadline. The
	// directory stays locked until it returns.
	ErrDiskHung = disk.ErrHung
	// ErrDiskFull: the disk or a quota has no room for a write.
	ErrDiskFull = disk.ErrFull
	// ErrDiskFailed: a write has failed for another reason.
	ErrDiskFailed = disk.ErrFailed
)
