package lease

import (
	"errors"
	"time"
	"unicode/utf8"

	"github.com/interrex/interrex"
)

func (c Claim) validate() error {
	if err := c.Key.Validate(); err != nil {
		return err
	}
	if err := interrex.ValidateHolder(c.Holder); err != nil {
		return err
	}
	if err := checkTTL(c.TTL); err != nil {
		return err
	}
	return c.Metadata.validate()
}

func (c Extend) validate() error {
	if err := c.Key.Validate(); err != nil {
		return err
	}
	if err := checkToken(c.Token); err != nil {
		return err
	}
	return checkOwnTTL(c.TTL)
}

func (c Revoke) validate() error {
	if err := c.Key.Validate(); err != nil {
		return err
	}
	if c.Force {
		return nil
	}
	return checkToken(c.Token)
}

func (c Transfer) validate() error {
	if err := c.Key.Validate(); err != nil {
		return err
	}
	if err := checkToken(c.Token); err != nil {
		return err
	}
	if err := interrex.ValidateNewHolder(c.To); err != nil {
		return err
	}
	return checkOwnTTL(c.TTL)
}

func (c Pin) validate() error {
	if err := c.Key.Validate(); err != nil {
		return err
	}
	if err := interrex.ValidateOwner(c.Owner); err != nil {
		return err
	}
	if len(c.Reason) > interrex.MaxReason {
		return interrex.Errorf(interrex.KindTooLarge, "reason: at most %d bytes are allowed, not %d", interrex.MaxReason, len(c.Reason))
	}
	if !utf8.ValidString(c.Reason) {
		return interrex.Errorf(interrex.KindInvalid, "reason: %q is not UTF-8", c.Reason)
	}
	if c.For < 0 || c.For > MaxPinFor {
		return interrex.Errorf(interrex.KindInvalid, "for: 0s (at will) to %v are allowed, not %v", MaxPinFor, c.For)
	}
	return nil
}

func (c Unpin) validate() error {
	if err := c.Key.Validate(); err != nil {
		return err
	}
	return interrex.ValidateOwner(c.Owner)
}

func checkTTL(d time.Duration) error {
	if d < interrex.MinTTL || d > interrex.MaxTTL {
		return interrex.Errorf(interrex.KindInvalid, "ttl: %v to %v are allowed, not %v", interrex.MinTTL, interrex.MaxTTL, d)
	}
	return nil
}

// checkOwnTTL allows 0 too: the lease's own.
func checkOwnTTL(d time.Duration) error {
	if d == 0 {
		return nil
	}
	return checkTTL(d)
}

func checkToken(token interrex.Token) error {
	if token == 0 {
		return interrex.Errorf(interrex.KindInvalid, "token: missing: give the token of the grant")
	}
	return nil
}

func checkRequestID(id string) error {
	if len(id) > interrex.MaxRequestID {
		return interrex.Errorf(interrex.KindInvalid, "request_id: at most %d bytes are allowed, not %d", interrex.MaxRequestID, len(id))
	}
	if !utf8.ValidString(id) {
		return interrex.Errorf(interrex.KindInvalid, "request_id: %q is not UTF-8", id)
	}
	return nil
}

func checkFence(f interrex.Fence) error {
	if f == (interrex.Fence{}) {
		return nil
	}
	if f.Token == 0 {
		return interrex.Errorf(interrex.KindInvalid, "fence: token: missing: give the token under which %s is held", f.Key)
	}
	if e, wrong := errors.AsType[*interrex.Error](f.Key.Validate()); wrong {
		return interrex.Errorf(e.Kind, "fence: %s", e.Message)
	}
	return nil
}
