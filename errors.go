package interrex

import (
	"errors"
	"fmt"
	"time"
)

// Kind classifies an error: the same in Go, across the hop to the leader, in
// RPC details, in JSON and in the exit code. Its text is stable. A Kind is itself
// an error, to compare with errors.Is.
type Kind string

// Error returns the kind's text.
func (k Kind) Error() string { return string(k) }

// The kinds. Those with the same numbers are next to each other: see Kind.numbers.
const (
	// ErrInvalid: the request is malformed: the text says which field and what is allowed.
	ErrInvalid Kind = "invalid"
	// ErrTooLarge: a value is longer than is allowed.
	ErrTooLarge Kind = "too large"
	// ErrNotFound: there is no such lease, pin, resource, setting or webhook.
	ErrNotFound Kind = "not found"
	// ErrHeld: another holds the lease; the Error says who, and for how long at most.
	ErrHeld Kind = "held"
	// ErrNotHeld: the lease is not held under that token: it was lost, or never was.
	ErrNotHeld Kind = "not held"
	// ErrCASFailure: the stored version is not the one that was given.
	ErrCASFailure Kind = "cas failure"
	// ErrWrongUID: the stored resource has another uid.
	ErrWrongUID Kind = "wrong uid"
	// ErrGroupVersionMismatch: the resource is stored in another group version; the Error has it.
	ErrGroupVersionMismatch Kind = "group version mismatch"
	// ErrConflict: refused because of the current state in another way, such as a 17th webhook, or an FSM's error.
	ErrConflict Kind = "conflict"
	// ErrUnauthenticated: the API requires an access token or a client certificate, and
	// there was none, or one that is not valid any more.
	ErrUnauthenticated Kind = "unauthenticated"
	// ErrDenied: the caller lacks the rule that the error names, or is not an operator.
	ErrDenied Kind = "denied"
	// ErrVetoed: a webhook refused it, or could not be called; nothing has happened.
	ErrVetoed Kind = "vetoed"
	// ErrNotLeader: the agent does not lead, or no longer does.
	ErrNotLeader Kind = "not leader"
	// ErrNoLeader: no leader is known: there is no quorum, or an election is under way.
	ErrNoLeader Kind = "no leader"
	// ErrUnavailable: no agent can be reached, or the agent cannot serve it now.
	ErrUnavailable Kind = "unavailable"
	// ErrInconsistent: package storage only: the requested consistency is not available now.
	ErrInconsistent Kind = "inconsistent"
	// ErrOtherCluster: the address leads to another cluster, or to one that was recovered since.
	ErrOtherCluster Kind = "other cluster"
	// ErrDraining: the agent is stopping, and accepts nothing new.
	ErrDraining Kind = "draining"
	// ErrOverloaded: a limit is reached: try again later.
	ErrOverloaded Kind = "overloaded"
	// ErrTimeout: the time ran out before it entered the log: it did not happen.
	ErrTimeout Kind = "timeout"
	// ErrOutcomeUnknown: it may or may not have happened: repeat it with the same request id.
	ErrOutcomeUnknown Kind = "outcome unknown"
	// ErrNameGone: the name of the request id is not known any more: this attempt did nothing, an earlier one may have.
	ErrNameGone Kind = "name gone"
	// ErrCompacted: the events from that revision on are no longer all kept.
	ErrCompacted Kind = "compacted"
	// ErrWatchClosed: the watch has ended, or its history was replaced: list and watch again.
	ErrWatchClosed Kind = "watch closed"
	// ErrRemoved: the agent was removed from its cluster, and takes part no more.
	ErrRemoved Kind = "removed from cluster"
	// ErrDisabled: the feature is off on this agent.
	ErrDisabled Kind = "disabled"
)

// RPC returns the kind's gRPC status code. An unknown kind counts as
// ErrOutcomeUnknown, here as in HTTP and Exit.
func (k Kind) RPC() uint32 { return k.numbers().rpc }

// HTTP returns the kind's HTTP status; Connect answers 400 where it is 410.
func (k Kind) HTTP() int { return k.numbers().http }

// Exit returns the kind's exit code of the command line.
func (k Kind) Exit() int { return k.numbers().exit }

// numbers are the codes of a kind outside Go.
type numbers struct {
	rpc        uint32
	http, exit int
}

func (k Kind) numbers() numbers {
	switch k {
	case ErrInvalid, ErrTooLarge:
		return numbers{3, 400, 2}
	case ErrNotFound:
		return numbers{5, 404, 3}
	case ErrHeld, ErrNotHeld, ErrCASFailure, ErrWrongUID, ErrGroupVersionMismatch, ErrConflict:
		return numbers{10, 409, 4}
	case ErrUnauthenticated:
		return numbers{16, 401, 5}
	case ErrDenied, ErrVetoed:
		return numbers{7, 403, 5}
	case ErrNotLeader, ErrNoLeader, ErrUnavailable, ErrInconsistent, ErrOtherCluster, ErrDraining:
		return numbers{14, 503, 6}
	case ErrOverloaded:
		return numbers{8, 429, 6}
	case ErrTimeout:
		return numbers{4, 504, 6}
	case ErrCompacted, ErrWatchClosed:
		return numbers{11, 410, 8}
	case ErrNameGone:
		return numbers{9, 400, 7}
	case ErrRemoved:
		return numbers{9, 400, 1}
	case ErrDisabled:
		return numbers{12, 501, 1}
	}
	return numbers{2, 500, 7}
}

// Retryable reports whether nothing has happened and the same request may succeed
// later.
func (k Kind) Retryable() bool {
	switch k {
	case ErrNotLeader, ErrNoLeader, ErrUnavailable, ErrInconsistent, ErrOtherCluster, ErrDraining, ErrOverloaded, ErrTimeout:
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
	Holder        string // for ErrHeld: the current holder
	HeldSince     time.Time
	Remaining     time.Duration // for ErrHeld: the estimate until it is due
	Waiting       int           // for ErrHeld: number of waiters
	FirstRevision Revision      // for ErrCompacted: the first one to request
	Lost          Revision      // for ErrNameGone, and ErrOutcomeUnknown of a dropped record: who knew it before the first attempt did nothing
	RetryAfter    time.Duration // for kinds that are Retryable
	Stored        []byte        // for ErrGroupVersionMismatch: the stored resource
	// RequestID, for ErrOutcomeUnknown of a client.Config.OneShot client, is the
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

// Is reports whether target is e's kind.
func (e *Error) Is(target error) bool {
	k, ok := target.(Kind)
	return ok && k == e.Kind
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

// KindOf returns the kind of the first *Error or Kind in err's chain, or ""
// if there is none.
func KindOf(err error) Kind {
	if err == nil { // most often
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	var k Kind
	errors.As(err, &k)
	return k
}
