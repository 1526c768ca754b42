package queue

import (
	"errors"
	"time"

	"github.com/interrex/interrex"
)

// enqueueError is the type of this package's sentinels.
type enqueueError string

func (e enqueueError) Error() string { return string(e) }

// The causes of an *interrex.Error of KindTimeout with which a queue answers:
// nothing has happened.
const (
	// ErrDeadlineExceeded: the operation's deadline passed while it waited.
	ErrDeadlineExceeded = enqueueError("enqueueing deadline exceeded")
	// ErrCanceled: the caller went while the operation waited.
	ErrCanceled = enqueueError("enqueueing canceled")
)

// IsDeadlineExceeded reports whether err says that an operation's deadline
// passed before it entered the log.
func IsDeadlineExceeded(err error) bool { return errors.Is(err, ErrDeadlineExceeded) }

// IsCanceled reports whether err says that the caller went before the operation
// entered the log.
func IsCanceled(err error) bool { return errors.Is(err, ErrCanceled) }

func errDeadline() error {
	return interrex.Errorf(interrex.KindTimeout,
		"cannot propose operation: its deadline passed while it waited for the log; nothing has happened, try again").
		WithCause(ErrDeadlineExceeded)
}

func errCanceled() error {
	return interrex.Errorf(interrex.KindTimeout,
		"cannot propose operation: its caller went while it waited for the log; nothing has happened").
		WithCause(ErrCanceled)
}

func errStopped() error {
	err := interrex.Errorf(interrex.KindDraining,
		"cannot propose operation: this agent stops; nothing has happened, try another agent")
	err.RetryAfter = 100 * time.Millisecond
	return err
}
