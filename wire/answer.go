package wire

import (
	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
)

// ClaimAnswer makes the message that answers a claim.
func ClaimAnswer(a interrex.LeaseAnswer) *interrexv1.ClaimResponse {
	return &interrexv1.ClaimResponse{
		Lease: Lease(a.Lease), Attempt: a.Attempt, Replayed: a.Replayed, Revision: uint64(a.Revision),
	}
}

// FromClaimAnswer reads the answer to a claim.
func FromClaimAnswer(m *interrexv1.ClaimResponse) (interrex.LeaseAnswer, error) {
	a, err := leaseAnswer(m.GetLease(), m.GetReplayed(), m.GetRevision())
	a.Attempt = m.GetAttempt()
	return a, err
}

// ExtendAnswer makes the message that answers an extend.
func ExtendAnswer(a interrex.LeaseAnswer) *interrexv1.ExtendResponse {
	return &interrexv1.ExtendResponse{Lease: Lease(a.Lease), Revision: uint64(a.Revision)}
}

// FromExtendAnswer reads the answer to an extend.
func FromExtendAnswer(m *interrexv1.ExtendResponse) (interrex.LeaseAnswer, error) {
	return leaseAnswer(m.GetLease(), false, m.GetRevision())
}

// RevokeAnswer makes the message that answers a revoke.
func RevokeAnswer(a interrex.RevokeAnswer) *interrexv1.RevokeResponse {
	return &interrexv1.RevokeResponse{
		HolderUntil: timestamp(a.HolderUntil), Replayed: a.Replayed, Revision: uint64(a.Revision),
	}
}

// FromRevokeAnswer reads the answer to a revoke.
func FromRevokeAnswer(m *interrexv1.RevokeResponse) (interrex.RevokeAnswer, error) {
	var r reader
	a := interrex.RevokeAnswer{
		HolderUntil: r.time("holder_until", m.GetHolderUntil()),
		Replayed:    m.GetReplayed(),
		Revision:    interrex.Revision(m.GetRevision()),
	}
	return a, r.err
}

// TransferAnswer makes the message that answers a transfer.
func TransferAnswer(a interrex.LeaseAnswer) *interrexv1.TransferResponse {
	return &interrexv1.TransferResponse{Lease: Lease(a.Lease), Replayed: a.Replayed, Revision: uint64(a.Revision)}
}

// FromTransferAnswer reads the answer to a transfer.
func FromTransferAnswer(m *interrexv1.TransferResponse) (interrex.LeaseAnswer, error) {
	return leaseAnswer(m.GetLease(), m.GetReplayed(), m.GetRevision())
}

// PinAnswer makes the message that answers a pin.
func PinAnswer(a interrex.LeaseAnswer) *interrexv1.PinResponse {
	return &interrexv1.PinResponse{Lease: Lease(a.Lease), Replayed: a.Replayed, Revision: uint64(a.Revision)}
}

// FromPinAnswer reads the answer to a pin.
func FromPinAnswer(m *interrexv1.PinResponse) (interrex.LeaseAnswer, error) {
	return leaseAnswer(m.GetLease(), m.GetReplayed(), m.GetRevision())
}

// UnpinAnswer makes the message that answers an unpin. The zero Lease, of an
// unpin that ended an overdue lease, is no message.
func UnpinAnswer(a interrex.LeaseAnswer) *interrexv1.UnpinResponse {
	m := &interrexv1.UnpinResponse{Replayed: a.Replayed, Revision: uint64(a.Revision)}
	if a.Lease.Token != 0 {
		m.Lease = Lease(a.Lease)
	}
	return m
}

// FromUnpinAnswer reads the answer to an unpin.
func FromUnpinAnswer(m *interrexv1.UnpinResponse) (interrex.LeaseAnswer, error) {
	return leaseAnswer(m.GetLease(), m.GetReplayed(), m.GetRevision())
}

func leaseAnswer(m *interrexv1.Lease, replayed bool, revision uint64) (interrex.LeaseAnswer, error) {
	l, err := FromLease(m)
	return interrex.LeaseAnswer{Lease: l, Replayed: replayed, Revision: interrex.Revision(revision)}, err
}
