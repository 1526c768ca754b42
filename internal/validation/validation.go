// Package validation owns the checks of values of requests that more than one
// package makes. Their errors are of kind interrex.ErrInvalid.
package validation

import (
	"errors"
	"fmt"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/internal/wording"
)

// Holder checks a holder's name.
func Holder(s string) error { return text("holder", s) }

// NewHolder checks the new holder of a transfer.
func NewHolder(s string) error { return text("to", s) }

// Owner checks a pin's owner.
func Owner(s string) error { return text("owner", s) }

// Plain checks text of a request that is shown to others: it must be UTF-8 without
// control characters and marks of direction. How long it may be is the table's.
func Plain(field, s string) error {
	if err := limits.CheckPlain(field, s); err != nil {
		return interrex.Errorf(interrex.ErrInvalid, "%v", err)
	}
	return nil
}

func text(field, s string) error {
	if err := limits.CheckText(field, s, limits.MaxHolder); err != nil {
		return interrex.Errorf(interrex.ErrInvalid, "%v", err)
	}
	return nil
}

// Namespace checks the namespace of a lease.
func Namespace(s string) error { return interrex.Key{Namespace: s, Name: "any"}.Validate() }

// Wait checks how long a claim may wait.
func Wait(d time.Duration) error {
	if d < 0 || d > interrex.MaxWait {
		return interrex.Errorf(interrex.ErrInvalid, "wait: 0 s to %s are allowed, not %v", wording.Rounded(interrex.MaxWait), d)
	}
	return nil
}

// RequestID checks a request id. An empty one means no id, and is allowed.
func RequestID(id string) error {
	if len(id) > limits.MaxRequestID {
		return interrex.Errorf(interrex.ErrInvalid, "request_id: at most %d bytes are allowed, not %d", limits.MaxRequestID, len(id))
	}
	return Plain("request_id", id)
}

// InGroup returns the error of the operation at index i of a group: its text
// begins with the operation's number, counted from 1.
func InGroup(i int, err error) error {
	var e *interrex.Error
	if !errors.As(err, &e) {
		return interrex.Errorf(interrex.ErrInvalid, "operation %d: %v", i+1, err)
	}
	numbered := *e
	numbered.Message = fmt.Sprintf("operation %d: %s", i+1, e.Message)
	return numbered.WithCause(err)
}
