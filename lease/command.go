package lease

import (
	"time"

	"github.com/interrex/interrex"
)

// The commands are what the log carries. Make them with the From functions,
// which fill in defaults and say what is wrong; Append encodes them.

// Claim asks for a free name, or for the holder's own again.
type Claim struct {
	Key      interrex.Key
	Holder   string
	TTL      time.Duration
	Takeover bool
	Metadata Metadata
}

// Extend moves the expiry to now + TTL, never to an earlier time.
type Extend struct {
	Key   interrex.Key
	Token interrex.Token
	TTL   time.Duration // 0: the lease's own, which an extend never changes
}

// Revoke frees the name.
type Revoke struct {
	Key   interrex.Key
	Token interrex.Token // not looked at under Force
	Force bool
}

// Transfer hands the lease to another holder under a new token. Metadata and
// pins stay.
type Transfer struct {
	Key   interrex.Key
	Token interrex.Token
	To    string
	TTL   time.Duration // 0: the lease's own; else it becomes that
}

// Pin keeps the lease from ending by time, until For is over or its owner
// unpins. A second one of the same owner renews reason and time.
type Pin struct {
	Key    interrex.Key
	Owner  string
	Reason string
	For    time.Duration // 0: at its owner's will
}

// Unpin lifts the pin of an owner.
type Unpin struct {
	Key   interrex.Key
	Owner string
}

// MaxPinFor is the longest time of a pin that lifts itself: ten years, so that
// no sum with cluster time overflows. A pin at will has no limit.
const MaxPinFor = 10 * 365 * 24 * time.Hour

// FromClaim checks a request: the error is of kind KindInvalid or KindTooLarge
// and names the field and what is allowed. Wait, request id, attempt and fence
// are checked too, and stay behind: they are no part of the command.
func FromClaim(r interrex.ClaimRequest) (Claim, error) {
	if r.TTL == 0 {
		r.TTL = interrex.DefaultTTL
	}
	if r.Wait < 0 || r.Wait > interrex.MaxWait {
		return Claim{}, interrex.Errorf(interrex.KindInvalid, "wait: 0s to %v are allowed, not %v", interrex.MaxWait, r.Wait)
	}
	if err := checkRequestID(r.RequestID); err != nil {
		return Claim{}, err
	}
	if err := checkFence(r.Fence); err != nil {
		return Claim{}, err
	}
	metadata, err := NewMetadata(r.Metadata)
	if err != nil {
		return Claim{}, err
	}
	c := Claim{Key: r.Key, Holder: r.Holder, TTL: r.TTL, Takeover: r.Takeover, Metadata: metadata}
	return c, c.validate()
}

// FromExtend checks a request as FromClaim does.
func FromExtend(r interrex.ExtendRequest) (Extend, error) {
	c := Extend{Key: r.Key, Token: r.Token, TTL: r.TTL}
	return c, c.validate()
}

// FromRevoke checks a request as FromClaim does.
func FromRevoke(r interrex.RevokeRequest) (Revoke, error) {
	c := Revoke{Key: r.Key, Token: r.Token, Force: r.Force}
	if err := checkRequestID(r.RequestID); err != nil {
		return c, err
	}
	return c, c.validate()
}

// FromTransfer checks a request as FromClaim does.
func FromTransfer(r interrex.TransferRequest) (Transfer, error) {
	c := Transfer{Key: r.Key, Token: r.Token, To: r.To, TTL: r.TTL}
	if err := checkRequestID(r.RequestID); err != nil {
		return c, err
	}
	return c, c.validate()
}

// FromPin checks a request as FromClaim does.
func FromPin(r interrex.PinRequest) (Pin, error) {
	c := Pin{Key: r.Key, Owner: r.Owner, Reason: r.Reason, For: r.For}
	if err := checkRequestID(r.RequestID); err != nil {
		return c, err
	}
	return c, c.validate()
}

// FromUnpin checks a request as FromClaim does; its Reason and For are ignored.
func FromUnpin(r interrex.PinRequest) (Unpin, error) {
	c := Unpin{Key: r.Key, Owner: r.Owner}
	if err := checkRequestID(r.RequestID); err != nil {
		return c, err
	}
	return c, c.validate()
}
