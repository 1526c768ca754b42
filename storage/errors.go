package storage

import (
	"context"
	"errors"

	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/wire"
)

// inconsistent makes an error that is ErrInconsistent of what says that there is
// no leader or no quorum, that this one does not lead, or that it stops. What
// says more about the request stays as it is; the caller's own end is ctx's.
//
// It is interrex.ErrOutcomeUnknown too where a write may have happened.
func inconsistent(ctx context.Context, err error) error {
	switch interrex.KindOf(err) {
	case interrex.KindNoLeader, interrex.KindNotLeader, interrex.KindUnavailable, interrex.KindDraining,
		interrex.KindInconsistent, interrex.KindOutcomeUnknown:
	case "":
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		err = ofRaft(err)
	case interrex.KindTimeout:
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	default:
		return err
	}
	return interrex.Errorf(interrex.KindInconsistent, "%v", err).WithCause(err)
}

// stored makes a GroupVersionMismatchError of what an agent's error carries.
func stored(err error) error {
	var e *interrex.Error
	if !errors.As(err, &e) || e.Kind != interrex.KindGroupVersionMismatch {
		return err
	}
	m := &interrexv1.Resource{}
	if proto.Unmarshal(e.Stored, m) != nil {
		return err
	}
	res, wrong := wire.FromResource(m)
	if wrong != nil {
		return err
	}
	return GroupVersionMismatchError{Stored: owned(res)}
}

// ofRaft tells errors of raft after which nothing has happened from others.
func ofRaft(err error) error {
	for _, nothing := range []error{raft.ErrNotLeader, raft.ErrLeadershipTransferInProgress, raft.ErrEnqueueTimeout} {
		if errors.Is(err, nothing) {
			return interrex.Errorf(interrex.KindNotLeader, "%v", err).WithCause(err)
		}
	}
	return interrex.Errorf(interrex.KindOutcomeUnknown, "%v", err).WithCause(err)
}
