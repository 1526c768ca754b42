package queue

import (
	"errors"
	"time"

	"github.com/interrex/interrex"
)

// enqueueError is the type of this package's sentinels.
type enqueueError string

func (e enqueueError) Error() string { return string(e) }

// The causes of a queue's *interrex.Error of ErrTimeout. With both, nothing has
// happened.
const (
	// ErrDeadlineExceeded: the operation's deadline passed while it waited.
	ErrDeadlineExceeded = enqueueError("enqueueing deadline exceeded")
	// ErrCanceled: the caller gave up while the operation waited.
	ErrCanceled = enqueueError("enqueueing canceled")
)

// IsDeadlineExceeded reports whether an operation's deadline passed before it
// entered the log.
func IsDeadlineExceeded(err error) bool { return errors.Is(err, ErrDeadlineExceeded) }

// IsCanceled reports whether the caller gave up before the operation entered the
// log.
func IsCanceled(err error) bool { return errors.Is(err, ErrCanceled) }

func errDeadline() error {
	return interrex.Errorf(interrex.ErrTimeout,
		"cannot propose operation: its deadline passed while it waited for the log; nothing has happened, try again").
		WithCause(ErrDeadlineExceeded)
}

func errCanceled() error {
	return interrex.Errorf(interrex.ErrTimeout,
		"cannot propose operation: its caller gave up while it waited for the log; nothing has happened").
		WithCause(ErrCanceled)
}

func errFull() error {
	err := interrex.Errorf(interrex.ErrOverloaded,
		"cannot propose operation: the log's queue has no room for more of this caller; nothing has happened, try again")
	err.RetryAfter = 100 * time.Millisecond
	return err
}

func errStopped() error {
	err := interrex.Errorf(interrex.ErrDraining,
		"cannot propose operation: this agent is stopping; nothing has happened, try another agent")
	err.RetryAfter = 100 * time.Millisecond
	return err
}
