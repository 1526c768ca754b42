package api

import (
	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/lease"
	"github.com/interrex/interrex/state"
	"github.com/interrex/interrex/wire"
)

// answer makes the answer of a write out of the log's result.
func (s *Server) answer(w *write, r state.Result) *interrexv1.StreamAnswer {
	if r.Err != nil {
		return s.failure(w.in, r.Err)
	}
	out := &interrexv1.StreamAnswer{Id: w.in.GetId()}
	if w.in.GetRequest() == nil {
		return s.failure(w.in, errUnanswered())
	}
	if _, is := w.in.GetRequest().(*interrexv1.StreamOperation_Retire); is {
		out.Answer = &interrexv1.StreamAnswer_Retire{Retire: &interrexv1.RetireResponse{}}
		return out
	}
	reply, is := r.Reply.(*lease.Reply)
	if !is {
		return s.failure(w.in, interrex.Errorf(interrex.KindOutcomeUnknown, "cannot read the reply: it is a %T", r.Reply))
	}
	if w.in.GetRevoke() != nil {
		out.Answer = &interrexv1.StreamAnswer_Revoke{Revoke: wire.RevokeAnswer(s.revoked(reply, r))}
		return out
	}
	fillLease(out, w.in, s.leased(reply, r))
	return out
}

// fillLease puts the answer of everything that answers with a lease in place.
func fillLease(out *interrexv1.StreamAnswer, in *interrexv1.StreamOperation, a interrex.LeaseAnswer) {
	switch in.GetRequest().(type) {
	case *interrexv1.StreamOperation_Claim:
		out.Answer = &interrexv1.StreamAnswer_Claim{Claim: wire.ClaimAnswer(a)}
	case *interrexv1.StreamOperation_Extend:
		out.Answer = &interrexv1.StreamAnswer_Extend{Extend: wire.ExtendAnswer(a)}
	case *interrexv1.StreamOperation_Transfer:
		out.Answer = &interrexv1.StreamAnswer_Transfer{Transfer: wire.TransferAnswer(a)}
	case *interrexv1.StreamOperation_Pin:
		out.Answer = &interrexv1.StreamAnswer_Pin{Pin: wire.PinAnswer(a)}
	case *interrexv1.StreamOperation_Unpin:
		out.Answer = &interrexv1.StreamAnswer_Unpin{Unpin: wire.UnpinAnswer(a)}
	}
}

func (s *Server) leased(reply *lease.Reply, r state.Result) interrex.LeaseAnswer {
	a := interrex.LeaseAnswer{Attempt: r.Attempt, Replayed: r.Replayed, Revision: r.Revision}
	if !reply.Ended {
		a.Lease = s.present(reply.Lease)
	}
	return a
}

func (s *Server) revoked(reply *lease.Reply, r state.Result) interrex.RevokeAnswer {
	a := interrex.RevokeAnswer{Replayed: r.Replayed, Revision: r.Revision}
	if reply.HolderUntil != 0 {
		now, wall := s.config.State.Estimate()
		a.HolderUntil = wall.Add(reply.HolderUntil.Sub(now)).UTC()
	}
	return a
}

// present gives a lease as users see it, with what this agent knows about it.
func (s *Server) present(r lease.Record) interrex.Lease {
	l := r.Lease(s.config.State.Estimate())
	if s.config.Waiting != nil {
		if n, known := s.config.Waiting(r.Key); known {
			l.Waiting = &n
		}
	}
	return l
}

// failure answers an operation with an error.
func (s *Server) failure(in *interrexv1.StreamOperation, err error) *interrexv1.StreamAnswer {
	return &interrexv1.StreamAnswer{
		Id:     in.GetId(),
		Answer: &interrexv1.StreamAnswer_Error{Error: s.detail(err)},
	}
}

// detail makes the detail of an error and says who leads where that helps.
func (s *Server) detail(err error) *interrexv1.Error {
	m := wire.Detail(err)
	kind := interrex.Kind(m.Kind)
	if m.LeaderId == "" && (kind.Retryable() || kind == interrex.KindOutcomeUnknown) {
		l := s.config.Leadership.Current()
		m.LeaderId, m.LeaderAddress = l.LeaderID, l.LeaderAddress
	}
	return m
}
