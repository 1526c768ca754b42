package interrex

import (
	"errors"
	"fmt"
	"time"
)

// Kind classifies an error: the same in Go, across the hop to the leader, in
// RPC details, in JSON and in the exit code. Its text is stable.
type Kind string

// The kinds. The table of Numbers says what each means for a caller.
const (
	KindInvalid              Kind = "invalid"
	KindTooLarge             Kind = "too large"
	KindNotFound             Kind = "not found"
	KindHeld                 Kind = "held"
	KindNotHeld              Kind = "not held"
	KindCASFailure           Kind = "cas failure"
	KindWrongUID             Kind = "wrong uid"
	KindGroupVersionMismatch Kind = "group version mismatch"
	KindConflict             Kind = "conflict"
	KindUnauthenticated      Kind = "unauthenticated"
	KindDenied               Kind = "denied"
	KindVetoed               Kind = "vetoed"
	KindNotLeader            Kind = "not leader"
	KindNoLeader             Kind = "no leader"
	KindUnavailable          Kind = "unavailable"
	KindInconsistent         Kind = "inconsistent"
	KindOtherCluster         Kind = "other cluster"
	KindDraining             Kind = "draining"
	KindOverloaded           Kind = "overloaded"
	KindTimeout              Kind = "timeout"
	KindOutcomeUnknown       Kind = "outcome unknown"
	KindNameGone             Kind = "name gone"
	KindCompacted            Kind = "compacted"
	KindWatchClosed          Kind = "watch closed"
	KindDisabled             Kind = "disabled"
)

// Numbers are the codes of a kind outside Go.
type Numbers struct {
	RPC  uint32 // gRPC status code
	HTTP int    // HTTP status; Connect answers 400 where it is 410
	Exit int    // exit code of the command line
}

// Numbers returns the kind's RPC code, HTTP status and exit code. An unknown kind
// counts as KindOutcomeUnknown.
func (k Kind) Numbers() Numbers {
	switch k {
	case KindInvalid, KindTooLarge:
		return Numbers{3, 400, 2}
	case KindNotFound:
		return Numbers{5, 404, 3}
	case KindHeld, KindNotHeld, KindCASFailure, KindWrongUID, KindGroupVersionMismatch, KindConflict:
		return Numbers{10, 409, 4}
	case KindUnauthenticated:
		return Numbers{16, 401, 5}
	case KindDenied, KindVetoed:
		return Numbers{7, 403, 5}
	case KindNotLeader, KindNoLeader, KindUnavailable, KindInconsistent, KindOtherCluster, KindDraining:
		return Numbers{14, 503, 6}
	case KindOverloaded:
		return Numbers{8, 429, 6}
	case KindTimeout:
		return Numbers{4, 504, 6}
	case KindCompacted, KindWatchClosed:
		return Numbers{11, 410, 8}
	case KindNameGone:
		return Numbers{9, 400, 7}
	case KindDisabled:
		return Numbers{12, 501, 1}
	}
	return Numbers{2, 500, 7}
}

// Retryable reports whether nothing has happened and the same request may succeed
// later.
func (k Kind) Retryable() bool {
	switch k {
	case KindNotLeader, KindNoLeader, KindUnavailable, KindInconsistent, KindOtherCluster, KindDraining, KindOverloaded, KindTimeout:
		return true
	}
	return false
}

// Error is an error with a kind. Fields that do not apply to the kind are zero.
type Error struct {
	Kind    Kind
	Message string // what failed, what is known, what to do next

	LeaderID      string // the leader known to the agent
	LeaderAddress string // its API address
	Holder        string // for KindHeld: the current holder
	HeldSince     time.Time
	Remaining     time.Duration // for KindHeld: the estimate until it is due
	Waiting       int           // for KindHeld: number of waiters
	FirstRevision Revision      // for KindCompacted: the first one to request
	Lost          Revision      // for KindNameGone: this request id may have been used before this revision
	RetryAfter    time.Duration // for kinds that are Retryable
	Stored        []byte        // for KindGroupVersionMismatch: the stored resource
	// RequestID, for KindOutcomeUnknown of a client.Config.OneShot client, is the
	// id with which the request can be repeated without being done twice.
	RequestID string

	cause error
}

// Error returns the kind and the message.
func (e *Error) Error() string {
	if e.Message == "" {
		return string(e.Kind)
	}
	return string(e.Kind) + ": " + e.Message
}

// Unwrap returns the cause, which does not cross the wire.
func (e *Error) Unwrap() error { return e.cause }

// Is reports whether target is the sentinel of e's kind.
func (e *Error) Is(target error) bool {
	s, ok := target.(sentinel)
	return ok && Kind(s) == e.Kind
}

// WithCause returns e with a cause that errors.Is and errors.As see.
func (e *Error) WithCause(err error) *Error {
	e.cause = err
	return e
}

// Errorf makes an error of a kind.
func Errorf(k Kind, format string, args ...any) *Error {
	return &Error{Kind: k, Message: fmt.Sprintf(format, args...)}
}

// RetryAfter returns how long the caller should wait before the next attempt, as far
// as err has it; else 0.
func RetryAfter(err error) time.Duration {
	var e *Error
	if errors.As(err, &e) {
		return e.RetryAfter
	}
	return 0
}

// KindOf returns the kind of the first *Error or sentinel in err's chain, or ""
// if there is none.
func KindOf(err error) Kind {
	if err == nil { // most often
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	var s sentinel
	if errors.As(err, &s) {
		return Kind(s)
	}
	return ""
}

type sentinel Kind

func (s sentinel) Error() string { return string(s) }

// The sentinels, to compare with errors.Is.
const (
	ErrInvalid              = sentinel(KindInvalid)
	ErrTooLarge             = sentinel(KindTooLarge)
	ErrNotFound             = sentinel(KindNotFound)
	ErrHeld                 = sentinel(KindHeld)
	ErrNotHeld              = sentinel(KindNotHeld)
	ErrCASFailure           = sentinel(KindCASFailure)
	ErrWrongUID             = sentinel(KindWrongUID)
	ErrGroupVersionMismatch = sentinel(KindGroupVersionMismatch)
	ErrConflict             = sentinel(KindConflict)
	ErrUnauthenticated      = sentinel(KindUnauthenticated)
	ErrDenied               = sentinel(KindDenied)
	ErrVetoed               = sentinel(KindVetoed)
	ErrNotLeader            = sentinel(KindNotLeader)
	ErrNoLeader             = sentinel(KindNoLeader)
	ErrUnavailable          = sentinel(KindUnavailable)
	ErrInconsistent         = sentinel(KindInconsistent)
	ErrOtherCluster         = sentinel(KindOtherCluster)
	ErrDraining             = sentinel(KindDraining)
	ErrOverloaded           = sentinel(KindOverloaded)
	ErrTimeout              = sentinel(KindTimeout)
	ErrOutcomeUnknown       = sentinel(KindOutcomeUnknown)
	ErrNameGone             = sentinel(KindNameGone)
	ErrCompacted            = sentinel(KindCompacted)
	ErrWatchClosed          = sentinel(KindWatchClosed)
	ErrDisabled             = sentinel(KindDisabled)
)
