package lease

import (
	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/codec"
	"github.com/interrex/interrex/internal/validation"
)

// The stories say requests as callers do: here is what the door does with them.

// FromClaim checks a request and makes the command of it, with defaults filled
// in: the error is of kind ErrInvalid or ErrTooLarge and names the field and
// what is allowed. Wait, request id, attempt and fence are checked too, and stay
// behind: they are no part of the command, which is never nil.
func FromClaim(r interrex.ClaimRequest) (*Claim, error) {
	c := &Claim{Key: r.Key, Holder: r.Holder, TTL: r.TTL, Takeover: r.Takeover}
	if c.TTL == 0 {
		c.TTL = interrex.DefaultTTL
	}
	if err := validation.Wait(r.Wait); err != nil {
		return c, err
	}
	if err := validation.RequestID(r.RequestID); err != nil {
		return c, err
	}
	if err := r.Fence.Validate(); err != nil {
		return c, err
	}
	var err error
	if c.Metadata, err = codec.NewMetadata(r.Metadata); err != nil {
		return c, err
	}
	return c, validate(c)
}

// FromExtend checks a request as FromClaim does.
func FromExtend(r interrex.ExtendRequest) (*Extend, error) {
	c := &Extend{Key: r.Key, Token: r.Token, TTL: r.TTL}
	return c, validate(c)
}

// FromRevoke checks a request as FromClaim does.
func FromRevoke(r interrex.RevokeRequest) (*Revoke, error) {
	c := &Revoke{Key: r.Key, Token: r.Token, Force: r.Force}
	if err := validation.RequestID(r.RequestID); err != nil {
		return c, err
	}
	return c, validate(c)
}

// FromTransfer checks a request as FromClaim does.
func FromTransfer(r interrex.TransferRequest) (*Transfer, error) {
	c := &Transfer{Key: r.Key, Token: r.Token, To: r.To, TTL: r.TTL}
	if err := validation.RequestID(r.RequestID); err != nil {
		return c, err
	}
	return c, validate(c)
}

// FromPin checks a request as FromClaim does.
func FromPin(r interrex.PinRequest) (*Pin, error) {
	c := &Pin{Key: r.Key, Owner: r.Owner, Reason: r.Reason, For: r.For}
	if err := validation.RequestID(r.RequestID); err != nil {
		return c, err
	}
	return c, validate(c)
}

// FromUnpin checks a request as FromClaim does; its Reason and For are ignored.
func FromUnpin(r interrex.PinRequest) (*Unpin, error) {
	c := &Unpin{Key: r.Key, Owner: r.Owner}
	if err := validation.RequestID(r.RequestID); err != nil {
		return c, err
	}
	return c, validate(c)
}
