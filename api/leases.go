package api

import (
	"context"
	"time"

	"connectrpc.com/connect"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/wire"
)

// leaseService is LeaseService: each method is the stream's operation, alone.
type leaseService struct{ server *Server }

var _ interrexv1.LeaseServiceHandler = leaseService{}

// Call does one operation as the stream does, and gives its one answer. An
// answer that is an error comes as that *interrex.Error. It is the way in for
// the process that the agent runs in; its caller is the operator.
func (s *Server) Call(ctx context.Context, in *interrexv1.StreamOperation) (*interrexv1.StreamAnswer, error) {
	a := s.do(ctx, caller{operator: true, name: in.GetCaller()}, in)
	if e := a.GetError(); e != nil {
		return nil, wire.FromDetail(e)
	}
	return a, nil
}

// do does one operation and waits for its answer.
func (s *Server) do(ctx context.Context, c caller, in *interrexv1.StreamOperation) *interrexv1.StreamAnswer {
	if err := s.calls.enter(); err != nil {
		return s.failure(in, err)
	}
	defer s.calls.leave()
	if err := s.served(c, in); err != nil {
		return s.failure(in, err)
	}
	if _, is := readOptions(in); is {
		return s.read(ctx, c, in)
	}
	w, err := newWrite(c, in, s.config.Clock.Now())
	if err != nil {
		return s.failure(in, err)
	}
	return s.write(ctx, w)
}

// write takes a write to the leader, by way of a goroutine that waits for it.
func (s *Server) write(ctx context.Context, w *write) *interrexv1.StreamAnswer {
	if w.waits() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(s.calls.ended, cancel)()
	}
	a := s.carry(ctx, w.caller, w)
	a.Id = w.in.GetId()
	return a
}

// maxEarly is how much of a caller's time is kept for the answer's way.
const maxEarly = 100 * time.Millisecond

// early ends somewhat before the caller's time is over: that nothing has happened
// is worth nothing to one who has gone, and must take it for unknown.
func early(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, deadline.Add(-min(maxEarly, time.Until(deadline)/5)))
}

// unary makes the answer of one method.
func unary[T any](ctx context.Context, s *Server, in *interrexv1.StreamOperation, pick func(*interrexv1.StreamAnswer) *T) (*connect.Response[T], error) {
	ctx, cancel := early(ctx)
	defer cancel()
	a := s.do(ctx, callerOf(ctx), in)
	if e := a.GetError(); e != nil {
		return nil, wire.Error(wire.FromDetail(e))
	}
	m := pick(a)
	if m == nil {
		return nil, wire.Error(interrex.Errorf(interrex.KindOutcomeUnknown, "cannot read the leader's answer: it is a %T", a.GetAnswer()))
	}
	return connect.NewResponse(m), nil
}

func (l leaseService) Claim(ctx context.Context, r *connect.Request[interrexv1.ClaimRequest]) (*connect.Response[interrexv1.ClaimResponse], error) {
	in := &interrexv1.StreamOperation{Request: &interrexv1.StreamOperation_Claim{Claim: r.Msg}}
	return unary(ctx, l.server, in, (*interrexv1.StreamAnswer).GetClaim)
}

func (l leaseService) Extend(ctx context.Context, r *connect.Request[interrexv1.ExtendRequest]) (*connect.Response[interrexv1.ExtendResponse], error) {
	in := &interrexv1.StreamOperation{Request: &interrexv1.StreamOperation_Extend{Extend: r.Msg}}
	return unary(ctx, l.server, in, (*interrexv1.StreamAnswer).GetExtend)
}

func (l leaseService) Revoke(ctx context.Context, r *connect.Request[interrexv1.RevokeRequest]) (*connect.Response[interrexv1.RevokeResponse], error) {
	in := &interrexv1.StreamOperation{Request: &interrexv1.StreamOperation_Revoke{Revoke: r.Msg}}
	return unary(ctx, l.server, in, (*interrexv1.StreamAnswer).GetRevoke)
}

func (l leaseService) Transfer(ctx context.Context, r *connect.Request[interrexv1.TransferRequest]) (*connect.Response[interrexv1.TransferResponse], error) {
	in := &interrexv1.StreamOperation{Request: &interrexv1.StreamOperation_Transfer{Transfer: r.Msg}}
	return unary(ctx, l.server, in, (*interrexv1.StreamAnswer).GetTransfer)
}

func (l leaseService) Pin(ctx context.Context, r *connect.Request[interrexv1.PinRequest]) (*connect.Response[interrexv1.PinResponse], error) {
	in := &interrexv1.StreamOperation{Request: &interrexv1.StreamOperation_Pin{Pin: r.Msg}}
	return unary(ctx, l.server, in, (*interrexv1.StreamAnswer).GetPin)
}

func (l leaseService) Unpin(ctx context.Context, r *connect.Request[interrexv1.UnpinRequest]) (*connect.Response[interrexv1.UnpinResponse], error) {
	in := &interrexv1.StreamOperation{Request: &interrexv1.StreamOperation_Unpin{Unpin: r.Msg}}
	return unary(ctx, l.server, in, (*interrexv1.StreamAnswer).GetUnpin)
}

func (l leaseService) Get(ctx context.Context, r *connect.Request[interrexv1.GetRequest]) (*connect.Response[interrexv1.GetResponse], error) {
	in := &interrexv1.StreamOperation{Request: &interrexv1.StreamOperation_Get{Get: r.Msg}}
	return unary(ctx, l.server, in, (*interrexv1.StreamAnswer).GetGet)
}

func (l leaseService) List(ctx context.Context, r *connect.Request[interrexv1.ListRequest]) (*connect.Response[interrexv1.ListResponse], error) {
	in := &interrexv1.StreamOperation{Request: &interrexv1.StreamOperation_List{List: r.Msg}}
	return unary(ctx, l.server, in, (*interrexv1.StreamAnswer).GetList)
}

func (l leaseService) History(ctx context.Context, r *connect.Request[interrexv1.HistoryRequest]) (*connect.Response[interrexv1.HistoryResponse], error) {
	in := &interrexv1.StreamOperation{Request: &interrexv1.StreamOperation_History{History: r.Msg}}
	return unary(ctx, l.server, in, (*interrexv1.StreamAnswer).GetHistory)
}
