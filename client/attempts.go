package client

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/hold"
	"github.com/interrex/interrex/wire"
)

// attempts is what holds are made with: each call is one attempt, over the
// stream, and one that fails sends the next to another agent.
type attempts struct{ c *Client }

var _ hold.Backend = attempts{}

// Claim is asked again by its caller, when it waits, and lives until then.
func (a attempts) Claim(ctx context.Context, r interrex.ClaimRequest) (interrex.LeaseAnswer, error) {
	limit := attemptTimeout
	if r.Wait > 0 {
		limit = r.Wait + attemptTimeout
	}
	answer, err := a.one(ctx, limit, claimOperation(r))
	return read(answer, err, (*interrexv1.StreamAnswer).GetClaim, wire.FromClaimAnswer)
}

// Extend leaves time for a second one elsewhere before the ttl is over.
func (a attempts) Extend(ctx context.Context, r interrex.ExtendRequest) (interrex.LeaseAnswer, error) {
	limit := attemptTimeout
	if r.TTL > 0 {
		limit = min(limit, r.TTL/2)
	}
	answer, err := a.one(ctx, limit, extendOperation(r))
	return read(answer, err, (*interrexv1.StreamAnswer).GetExtend, wire.FromExtendAnswer)
}

func (a attempts) Revoke(ctx context.Context, r interrex.RevokeRequest) (interrex.RevokeAnswer, error) {
	answer, err := a.one(ctx, attemptTimeout, revokeOperation(r))
	return read(answer, err, (*interrexv1.StreamAnswer).GetRevoke, wire.FromRevokeAnswer)
}

func (a attempts) Transfer(ctx context.Context, r interrex.TransferRequest) (interrex.LeaseAnswer, error) {
	answer, err := a.one(ctx, attemptTimeout, transferOperation(r))
	return read(answer, err, (*interrexv1.StreamAnswer).GetTransfer, wire.FromTransferAnswer)
}

func (a attempts) one(ctx context.Context, limit time.Duration, op *interrexv1.StreamOperation) (*interrexv1.StreamAnswer, error) {
	caller := ctx
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if !op.AsksAgain {
		op.Timeout = durationpb.New(limit)
	}
	p := a.c.endpoint()
	answer, err := a.c.send(ctx, p.stream, op)
	if caller.Err() == nil && moves(interrex.KindOf(err)) {
		a.c.leave(p)
	}
	return answer, err
}
