package client

import (
	"context"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/wire"
)

// Leases gives the cluster's leases. A request without a RequestID is retried
// by the Client until it is answered; one with a RequestID is one attempt, whose
// caller counts the attempts.
//
// An answer that a wait has waited for is as old as the attempt it names: who
// wants to hold the lease calls Hold, or believes it from the answer of an
// Extend that is sent first.
func (c *Client) Leases() interrex.Leases { return leases{c} }

type leases struct{ c *Client }

func (l leases) Hold(ctx context.Context, key string, o interrex.HoldOptions) (interrex.Held, error) {
	return l.c.keeper.Hold(ctx, key, o)
}

func (l leases) Run(ctx context.Context, key string, o interrex.HoldOptions, fn func(ctx context.Context, held interrex.Held) error) error {
	return l.c.keeper.Run(ctx, key, o, fn)
}

func (l leases) Claim(ctx context.Context, r interrex.ClaimRequest) (interrex.LeaseAnswer, error) {
	if r.Holder == "" {
		r.Holder = l.c.config.Holder
	}
	if err := interrex.ValidateWait(r.Wait); err != nil {
		return interrex.LeaseAnswer{}, err
	}
	switch {
	case r.Wait > 0 && r.RequestID != "":
		return attempts(l).Claim(ctx, r)
	case r.Wait > 0:
		return l.c.keeper.Claim(ctx, r)
	}
	answer, err := l.c.do(ctx, request{write: true, id: r.RequestID, attempt: r.Attempt, make: func(id string, attempt uint32) *interrexv1.StreamOperation {
		r := r
		r.RequestID, r.Attempt = id, attempt
		return claimOperation(r)
	}})
	return read(answer, err, (*interrexv1.StreamAnswer).GetClaim, wire.FromClaimAnswer)
}

func (l leases) Extend(ctx context.Context, r interrex.ExtendRequest) (interrex.LeaseAnswer, error) {
	answer, err := l.c.do(ctx, request{make: func(string, uint32) *interrexv1.StreamOperation {
		return extendOperation(r)
	}})
	return read(answer, err, (*interrexv1.StreamAnswer).GetExtend, wire.FromExtendAnswer)
}

func (l leases) Revoke(ctx context.Context, r interrex.RevokeRequest) (interrex.RevokeAnswer, error) {
	answer, err := l.c.do(ctx, request{write: true, id: r.RequestID, attempt: r.Attempt, make: func(id string, attempt uint32) *interrexv1.StreamOperation {
		r := r
		r.RequestID, r.Attempt = id, attempt
		return revokeOperation(r)
	}})
	return read(answer, err, (*interrexv1.StreamAnswer).GetRevoke, wire.FromRevokeAnswer)
}

func (l leases) Transfer(ctx context.Context, r interrex.TransferRequest) (interrex.LeaseAnswer, error) {
	answer, err := l.c.do(ctx, request{write: true, id: r.RequestID, attempt: r.Attempt, make: func(id string, attempt uint32) *interrexv1.StreamOperation {
		r := r
		r.RequestID, r.Attempt = id, attempt
		return transferOperation(r)
	}})
	return read(answer, err, (*interrexv1.StreamAnswer).GetTransfer, wire.FromTransferAnswer)
}

func (l leases) Pin(ctx context.Context, r interrex.PinRequest) (interrex.LeaseAnswer, error) {
	answer, err := l.c.do(ctx, request{write: true, id: r.RequestID, attempt: r.Attempt, make: func(id string, attempt uint32) *interrexv1.StreamOperation {
		r := r
		r.RequestID, r.Attempt = id, attempt
		return pinOperation(r)
	}})
	return read(answer, err, (*interrexv1.StreamAnswer).GetPin, wire.FromPinAnswer)
}

func (l leases) Unpin(ctx context.Context, r interrex.PinRequest) (interrex.LeaseAnswer, error) {
	answer, err := l.c.do(ctx, request{write: true, id: r.RequestID, attempt: r.Attempt, make: func(id string, attempt uint32) *interrexv1.StreamOperation {
		r := r
		r.RequestID, r.Attempt = id, attempt
		return unpinOperation(r)
	}})
	return read(answer, err, (*interrexv1.StreamAnswer).GetUnpin, wire.FromUnpinAnswer)
}

func (l leases) Get(ctx context.Context, key interrex.Key, o interrex.ReadOptions) (interrex.Lease, interrex.Revision, error) {
	answer, err := l.c.do(ctx, request{make: func(string, uint32) *interrexv1.StreamOperation {
		return getOperation(key, o)
	}})
	a, err := read(answer, err, (*interrexv1.StreamAnswer).GetGet, func(m *interrexv1.GetResponse) (interrex.LeaseAnswer, error) {
		found, revision, err := wire.FromGetAnswer(m)
		return interrex.LeaseAnswer{Lease: found, Revision: revision}, err
	})
	return a.Lease, a.Revision, err
}

func (l leases) List(ctx context.Context, r interrex.ListRequest) (interrex.LeasePage, error) {
	answer, err := l.c.do(ctx, request{make: func(string, uint32) *interrexv1.StreamOperation {
		return listOperation(r)
	}})
	return read(answer, err, (*interrexv1.StreamAnswer).GetList, wire.FromListAnswer)
}

func (l leases) History(ctx context.Context, key interrex.Key) ([]interrex.PastLease, interrex.Revision, error) {
	answer, err := l.c.do(ctx, request{make: func(string, uint32) *interrexv1.StreamOperation {
		return historyOperation(key)
	}})
	var revision interrex.Revision
	items, err := read(answer, err, (*interrexv1.StreamAnswer).GetHistory, func(m *interrexv1.HistoryResponse) (items []interrex.PastLease, err error) {
		items, revision, err = wire.FromHistoryAnswer(m)
		return items, err
	})
	return items, revision, err
}

// Watch yields lease events, and resumes by itself after the last one when the
// connection or the agent is lost; ctx ends it. When the events after the last
// one are gone it ends with KindCompacted, and when it is lost amid the present
// leases of its beginning with KindWatchClosed: then a new watch, from 0, tells
// everything.
func (l leases) Watch(ctx context.Context, r interrex.WatchRequest) (interrex.LeaseWatch, error) {
	return newWatch(ctx, l.c, r)
}

// read gets the message that answers a request out of an answer, and reads it.
// An answer that is not understood says nothing about what happened.
func read[M, A any](answer *interrexv1.StreamAnswer, err error, get func(*interrexv1.StreamAnswer) *M, from func(*M) (A, error)) (a A, _ error) {
	if err != nil {
		return a, err
	}
	m := get(answer)
	if m == nil {
		return a, interrex.Errorf(interrex.KindOutcomeUnknown, "cannot read the agent's answer: it is a %T", answer.GetAnswer())
	}
	a, err = from(m)
	if err != nil {
		return a, interrex.Errorf(interrex.KindOutcomeUnknown, "cannot read the agent's answer: %v", err)
	}
	return a, nil
}
