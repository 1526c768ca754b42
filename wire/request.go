package wire

import (
	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
)

// Claim makes the message of a claim.
func Claim(r interrex.ClaimRequest) *interrexv1.ClaimRequest {
	return &interrexv1.ClaimRequest{
		Key:       r.Key.String(),
		Holder:    r.Holder,
		Ttl:       optional(r.TTL),
		RequestId: r.RequestID,
		Attempt:   r.Attempt,
		Wait:      optional(r.Wait),
		Takeover:  r.Takeover,
		Metadata:  r.Metadata,
		Fence:     fence(r.Fence),
	}
}

// FromClaim reads a claim. A wait of zero is the same as none.
func FromClaim(m *interrexv1.ClaimRequest) (interrex.ClaimRequest, error) {
	var r reader
	c := interrex.ClaimRequest{
		Key:       r.key(m.GetKey()),
		Holder:    m.GetHolder(),
		TTL:       r.positive("ttl", m.GetTtl()),
		Wait:      r.duration("wait", m.GetWait()),
		Takeover:  m.GetTakeover(),
		Metadata:  m.GetMetadata(),
		RequestID: m.GetRequestId(),
		Attempt:   m.GetAttempt(),
		Fence:     r.fence(m.GetFence()),
	}
	return c, r.err
}

// Extend makes the message of an extend.
func Extend(r interrex.ExtendRequest) *interrexv1.ExtendRequest {
	return &interrexv1.ExtendRequest{Key: r.Key.String(), Token: uint64(r.Token), Ttl: optional(r.TTL)}
}

// FromExtend reads an extend.
func FromExtend(m *interrexv1.ExtendRequest) (interrex.ExtendRequest, error) {
	var r reader
	e := interrex.ExtendRequest{
		Key:   r.key(m.GetKey()),
		Token: interrex.Token(m.GetToken()),
		TTL:   r.positive("ttl", m.GetTtl()),
	}
	return e, r.err
}

// Revoke makes the message of a revoke.
func Revoke(r interrex.RevokeRequest) *interrexv1.RevokeRequest {
	return &interrexv1.RevokeRequest{
		Key:       r.Key.String(),
		Token:     uint64(r.Token),
		Force:     r.Force,
		RequestId: r.RequestID,
		Attempt:   r.Attempt,
	}
}

// FromRevoke reads a revoke.
func FromRevoke(m *interrexv1.RevokeRequest) (interrex.RevokeRequest, error) {
	var r reader
	v := interrex.RevokeRequest{
		Key:       r.key(m.GetKey()),
		Token:     interrex.Token(m.GetToken()),
		Force:     m.GetForce(),
		RequestID: m.GetRequestId(),
		Attempt:   m.GetAttempt(),
	}
	return v, r.err
}

// Transfer makes the message of a transfer.
func Transfer(r interrex.TransferRequest) *interrexv1.TransferRequest {
	return &interrexv1.TransferRequest{
		Key:       r.Key.String(),
		Token:     uint64(r.Token),
		To:        r.To,
		Ttl:       optional(r.TTL),
		RequestId: r.RequestID,
		Attempt:   r.Attempt,
	}
}

// FromTransfer reads a transfer.
func FromTransfer(m *interrexv1.TransferRequest) (interrex.TransferRequest, error) {
	var r reader
	t := interrex.TransferRequest{
		Key:       r.key(m.GetKey()),
		Token:     interrex.Token(m.GetToken()),
		To:        m.GetTo(),
		TTL:       r.positive("ttl", m.GetTtl()),
		RequestID: m.GetRequestId(),
		Attempt:   m.GetAttempt(),
	}
	return t, r.err
}

// Pin makes the message of a pin.
func Pin(r interrex.PinRequest) *interrexv1.PinRequest {
	return &interrexv1.PinRequest{
		Key:       r.Key.String(),
		Owner:     r.Owner,
		Reason:    r.Reason,
		For:       optional(r.For),
		RequestId: r.RequestID,
		Attempt:   r.Attempt,
	}
}

// FromPin reads a pin.
func FromPin(m *interrexv1.PinRequest) (interrex.PinRequest, error) {
	var r reader
	p := interrex.PinRequest{
		Key:       r.key(m.GetKey()),
		Owner:     m.GetOwner(),
		Reason:    m.GetReason(),
		For:       r.positive("for", m.GetFor()),
		RequestID: m.GetRequestId(),
		Attempt:   m.GetAttempt(),
	}
	return p, r.err
}

// Unpin makes the message that lifts a pin; reason and time have no place in
// it.
func Unpin(r interrex.PinRequest) *interrexv1.UnpinRequest {
	return &interrexv1.UnpinRequest{
		Key:       r.Key.String(),
		Owner:     r.Owner,
		RequestId: r.RequestID,
		Attempt:   r.Attempt,
	}
}

// FromUnpin reads what lifts a pin.
func FromUnpin(m *interrexv1.UnpinRequest) (interrex.PinRequest, error) {
	var r reader
	p := interrex.PinRequest{
		Key:       r.key(m.GetKey()),
		Owner:     m.GetOwner(),
		RequestID: m.GetRequestId(),
		Attempt:   m.GetAttempt(),
	}
	return p, r.err
}

// fence makes no message of the zero Fence.
func fence(f interrex.Fence) *interrexv1.Fence {
	if f == (interrex.Fence{}) {
		return nil
	}
	return &interrexv1.Fence{Key: f.Key.String(), Token: uint64(f.Token)}
}
