package disk

import (
	"errors"
	"fmt"
	"syscall"
)

// The errors of a disk, or a directory on it, that cannot be used.
var (
	// ErrHung is the error of a call to the disk that has not returned within its
	// deadline. The directory stays locked until it returns.
	ErrHung = errors.New("disk hung")
	// ErrFull is the error of a write for which the disk or a quota has no room.
	ErrFull = errors.New("disk full")
	// ErrFailed is the error of any other failed write: what a store holds after
	// one is unknown until it is opened again.
	ErrFailed = errors.New("disk failed")
	// ErrDamaged is the error of reading what does not pass its check.
	ErrDamaged = errors.New("damaged on disk")
	// ErrClosed is returned by a store after its Close.
	ErrClosed = errors.New("log store is closed")
	// ErrInUse is the error of locking a directory that is already locked, by this
	// process or another.
	ErrInUse = errors.New("directory is in use")
)

// Classify wraps the error of a failed write in one of the errors above.
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
