package storage

import (
	"context"
	"errors"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex"
)

func TestWhatSaysThatNothingIsDecidedIsInconsistent(t *testing.T) {
	of := func(k interrex.Kind) error { return interrex.Errorf(k, "x") }
	for _, test := range []struct {
		err                   error
		inconsistent, unknown bool
	}{
		{of(interrex.ErrNoLeader), true, false},
		{of(interrex.ErrNotLeader), true, false},
		{of(interrex.ErrUnavailable), true, false},
		{of(interrex.ErrDraining), true, false},
		{of(interrex.ErrInconsistent), true, false},
		{of(interrex.ErrTimeout), true, false},
		{of(interrex.ErrOutcomeUnknown), true, true},
		{raft.ErrNotLeader, true, false},
		{raft.ErrLeadershipTransferInProgress, true, false},
		{raft.ErrEnqueueTimeout, true, false},
		{raft.ErrLeadershipLost, true, true},
		{errors.New("whatever"), true, true},
		{of(interrex.ErrCASFailure), false, false},
		{of(interrex.ErrNotFound), false, false},
		{of(interrex.ErrInvalid), false, false},
	} {
		got := inconsistent(t.Context(), test.err)
		if errors.Is(got, interrex.ErrInconsistent) != test.inconsistent || errors.Is(got, interrex.ErrOutcomeUnknown) != test.unknown {
			t.Errorf("%v: %v", test.err, got)
		}
		if !errors.Is(got, test.err) {
			t.Errorf("%v: its cause is lost in %v", test.err, got)
		}
	}
	gone := errors.New("the caller has gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(gone)
	for _, err := range []error{context.Canceled, of(interrex.ErrTimeout)} {
		if got := inconsistent(ctx, err); got != gone {
			t.Errorf("%v of a caller that has gone: %v", err, got)
		}
	}
}
