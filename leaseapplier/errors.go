package leaseapplier

import (
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex"
)

// retryAfter is the delay before a retry in refusals: about as long as a new leader
// needs to become ready.
const retryAfter = 100 * time.Millisecond

// errTransferStuck ends the Applier when raft has returned "leadership transfer in
// progress" for stuckAfter: it may do so forever (hashicorp/raft#696), until raft is
// restarted.
var errTransferStuck = errors.New("raft has been in a leadership transfer for too long")

// NotLeaderError is the error of an operation that was not proposed because this
// agent does not lead. Nothing has happened. Its address and ID are hints: the leader
// may have changed since.
//
// It wraps an *interrex.Error of ErrNotLeader, or of ErrNoLeader when no
// leader is known, with LeaderID, LeaderAddress and RetryAfter.
type NotLeaderError struct {
	serverAddress string
	serverID      string
	kind          *interrex.Error
}

// NewNotLeaderError returns the error for a leader's API address and ID; both are
// empty when no leader is known.
func NewNotLeaderError(serverAddress, serverID string) error {
	kind := interrex.Errorf(interrex.ErrNoLeader,
		"cannot propose operation: no leader is known here; nothing has happened, try again")
	if serverID != "" {
		kind = interrex.Errorf(interrex.ErrNotLeader,
			"cannot propose operation: this agent does not lead, %q does; nothing has happened, try there", serverID)
	}
	kind.LeaderID, kind.LeaderAddress, kind.RetryAfter = serverID, serverAddress, retryAfter
	return &NotLeaderError{serverAddress: serverAddress, serverID: serverID, kind: kind}
}

// Error returns a text with the server to try, if one is known.
func (e *NotLeaderError) Error() string {
	if e.serverID == "" {
		return "not currently the leader, and no leader is known here"
	}
	return fmt.Sprintf("not currently the leader, try %q", e.serverID)
}

// ServerAddress returns the address of the leader's API; empty: unknown.
func (e *NotLeaderError) ServerAddress() string { return e.serverAddress }

// ServerID returns the leader's agent ID; empty: unknown.
func (e *NotLeaderError) ServerID() string { return e.serverID }

// AsMap returns the hints under "server-address" and "server-id".
func (e *NotLeaderError) AsMap() map[string]string {
	return map[string]string{"server-address": e.serverAddress, "server-id": e.serverID}
}

// Unwrap returns the *interrex.Error.
func (e *NotLeaderError) Unwrap() error { return e.kind }

// IsNotLeaderError reports whether err is or wraps a *NotLeaderError.
func IsNotLeaderError(err error) bool {
	var e *NotLeaderError
	return errors.As(err, &e)
}

// nothingHappened reports whether an entry's error means that it never entered the
// log. With every other error the outcome is unknown: a raft that has lost leadership
// or is shut down may have sent the entry to others before.
func nothingHappened(err error) bool {
	return IsNotLeaderError(err) || errors.Is(err, raft.ErrEnqueueTimeout) || isTransfer(err)
}

func isTransfer(err error) bool { return errors.Is(err, raft.ErrLeadershipTransferInProgress) }

func errEnqueueTimeout(err error) error {
	e := interrex.Errorf(interrex.ErrTimeout,
		"cannot propose operation: raft did not accept it in time; nothing has happened, try again").WithCause(err)
	e.RetryAfter = retryAfter
	return e
}

func errTransfer(err error) error {
	e := interrex.Errorf(interrex.ErrUnavailable,
		"cannot propose operation: leadership is being handed over; nothing has happened, try again").WithCause(err)
	e.RetryAfter = retryAfter
	return e
}

func errUnknown(why string, cause error) error {
	return interrex.Errorf(interrex.ErrOutcomeUnknown,
		"operation may or may not have happened: %s; retry with the same request id", why).WithCause(cause)
}

func errStopped() error {
	e := interrex.Errorf(interrex.ErrUnavailable, "cannot wait here: raft is stopping on this agent; nothing has happened, try another agent")
	e.RetryAfter = retryAfter
	return e
}

func errTooManyWaiters(k interrex.Key) error {
	e := interrex.Errorf(interrex.ErrOverloaded,
		"cannot wait for %s: at most %d claims may wait for a key, and %d in all", k, maxWaitersPerKey, maxWaiters)
	e.RetryAfter = time.Second
	return e
}

func errMissed(k interrex.Key) error {
	e := interrex.Errorf(interrex.ErrUnavailable,
		"cannot wait for %s any longer: its caller has missed %d retries; nothing has happened, try again", k, missedRetries)
	e.RetryAfter = retryAfter
	return e
}
