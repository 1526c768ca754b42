package disk

import (
	"errors"
	"fmt"
	"syscall"
)

// What a disk, or a directory on it, answers when it cannot be used, or not any more.
var (
	// ErrHung is the error of a call on the disk that has not returned
	// within its deadline. The directory stays locked until it has.
	ErrHung = errors.New("disk hung")
	// ErrFull is the error of a write for which the disk, or a quota, has
	// no room.
	ErrFull = errors.New("disk full")
	// ErrFailed is the error of any other failed write: what a store holds
	// after one is only known once it has been opened again.
	ErrFailed = errors.New("disk failed")
	// ErrDamaged is the error of reading what does not prove itself.
	ErrDamaged = errors.New("damaged on disk")
	// ErrClosed is answered by a store after its Close.
	ErrClosed = errors.New("log store is closed")
	// ErrInUse is the error of locking a directory that somebody else, of this
	// process or another, has locked.
	ErrInUse = errors.New("directory is in use")
)

// Classify makes one of the errors above out of a failed write.
func Classify(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrHung), errors.Is(err, ErrClosed):
		return fmt.Errorf("cannot %s: %w", what, err)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		return fmt.Errorf("cannot %s: %w: %w", what, ErrFull, err)
	}
	return fmt.Errorf("cannot %s: %w: %w", what, ErrFailed, err)
}
