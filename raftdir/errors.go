package raftdir

import (
	"errors"
	"fmt"
	"syscall"
)

// What a directory answers when it cannot be used, or not any more.
var (
	// ErrDiskHung is the error of a call on the disk that has not returned
	// within its deadline. The directory stays locked until it has.
	ErrDiskHung = errors.New("disk hung")
	// ErrDiskFull is the error of a write for which the disk, or a quota, has
	// no room.
	ErrDiskFull = errors.New("disk full")
	// ErrDiskFailed is the error of any other failed write: what a store holds
	// after one is only known once it has been opened again.
	ErrDiskFailed = errors.New("disk failed")
	// ErrDamaged is the error of reading what does not prove itself.
	ErrDamaged = errors.New("damaged on disk")
	// ErrForgotten is the error of opening a directory that has lost its vote
	// or its floor. An agent that does not know what it has promised may take
	// part in nothing: its disk counts as wiped.
	ErrForgotten = errors.New("what this agent has promised is lost")
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
