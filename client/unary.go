package client

import (
	"context"

	"connectrpc.com/connect"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/wire"
)

// unary brings operations to an agent by one call each.
type unary struct{ *endpoint }

// Call makes the call that an operation stands for. Its errors are those of
// Stream.Call.
func (u unary) Call(ctx context.Context, op *interrexv1.StreamOperation) (*interrexv1.StreamAnswer, error) {
	a := &interrexv1.StreamAnswer{}
	var err error
	switch r := op.Request.(type) {
	case *interrexv1.StreamOperation_Claim:
		v := &interrexv1.StreamAnswer_Claim{}
		v.Claim, err = one(ctx, u.leases.Claim, r.Claim, true)
		a.Answer = v
	case *interrexv1.StreamOperation_Extend:
		v := &interrexv1.StreamAnswer_Extend{}
		v.Extend, err = one(ctx, u.leases.Extend, r.Extend, true)
		a.Answer = v
	case *interrexv1.StreamOperation_Revoke:
		v := &interrexv1.StreamAnswer_Revoke{}
		v.Revoke, err = one(ctx, u.leases.Revoke, r.Revoke, true)
		a.Answer = v
	case *interrexv1.StreamOperation_Transfer:
		v := &interrexv1.StreamAnswer_Transfer{}
		v.Transfer, err = one(ctx, u.leases.Transfer, r.Transfer, true)
		a.Answer = v
	case *interrexv1.StreamOperation_Pin:
		v := &interrexv1.StreamAnswer_Pin{}
		v.Pin, err = one(ctx, u.leases.Pin, r.Pin, true)
		a.Answer = v
	case *interrexv1.StreamOperation_Unpin:
		v := &interrexv1.StreamAnswer_Unpin{}
		v.Unpin, err = one(ctx, u.leases.Unpin, r.Unpin, true)
		a.Answer = v
	default:
		return u.read(ctx, op)
	}
	if err != nil {
		return nil, err
	}
	return a, nil
}

// read makes the calls that change nothing.
func (u unary) read(ctx context.Context, op *interrexv1.StreamOperation) (*interrexv1.StreamAnswer, error) {
	a := &interrexv1.StreamAnswer{}
	var err error
	switch r := op.Request.(type) {
	case *interrexv1.StreamOperation_Get:
		v := &interrexv1.StreamAnswer_Get{}
		v.Get, err = one(ctx, u.leases.Get, r.Get, false)
		a.Answer = v
	case *interrexv1.StreamOperation_List:
		v := &interrexv1.StreamAnswer_List{}
		v.List, err = one(ctx, u.leases.List, r.List, false)
		a.Answer = v
	case *interrexv1.StreamOperation_History:
		v := &interrexv1.StreamAnswer_History{}
		v.History, err = one(ctx, u.leases.History, r.History, false)
		a.Answer = v
	default:
		return nil, interrex.Errorf(interrex.KindInvalid, "%T goes over a stream alone", r)
	}
	if err != nil {
		return nil, err
	}
	return a, nil
}

// one makes one unary call, and gives its error a kind.
func one[Q, A any](ctx context.Context, call func(context.Context, *connect.Request[Q]) (*connect.Response[A], error), m *Q, write bool) (*A, error) {
	answer, err := call(ctx, connect.NewRequest(m))
	if err != nil {
		return nil, wire.FromError(err, write)
	}
	return answer.Msg, nil
}
