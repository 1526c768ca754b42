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

// inconsistent turns an error that means that there is no leader or no quorum, or that
// this replica does not lead or is stopping, into one that is interrex.ErrInconsistent. An
// error about the request stays as it is; if ctx has ended the error is that of ctx.
//
// It is also interrex.ErrOutcomeUnknown if a write may have happened.
func inconsistent(ctx context.Context, err error) error {
	switch interrex.KindOf(err) {
	case interrex.ErrNoLeader, interrex.ErrNotLeader, interrex.ErrUnavailable, interrex.ErrDraining,
		interrex.ErrInconsistent, interrex.ErrOutcomeUnknown:
	case "":
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		err = ofRaft(err)
	case interrex.ErrTimeout:
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	default:
		return err
	}
	return interrex.Errorf(interrex.ErrInconsistent, "%v", err).WithCause(err)
}

// stored turns an agent's ErrGroupVersionMismatch into a GroupVersionMismatchError.
func stored(err error) error {
	var e *interrex.Error
	if !errors.As(err, &e) || e.Kind != interrex.ErrGroupVersionMismatch {
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

// ofRaft gives an error of raft a kind: it distinguishes errors after which nothing has
// happened from others.
func ofRaft(err error) error {
	for _, nothing := range []error{raft.ErrNotLeader, raft.ErrLeadershipTransferInProgress, raft.ErrEnqueueTimeout} {
		if errors.Is(err, nothing) {
			return interrex.Errorf(interrex.ErrNotLeader, "%v", err).WithCause(err)
		}
	}
	return interrex.Errorf(interrex.ErrOutcomeUnknown, "%v", err).WithCause(err)
}
