package operate

import (
	"context"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/door"
	"github.com/interrex/interrex/internal/method"
	"github.com/interrex/interrex/wire"
)

// readAlone answers one read.
func (s *Server) readAlone(ctx context.Context, r *request) outcome {
	if !r.Read.Eventual {
		return s.readAll(ctx, r.Caller, []*request{r})[0]
	}
	return s.readHere(ctx, r)
}

// waits reports whether an eventual read may have to wait: for a revision, for
// what it asks for, or for what its method does.
func (s *Server) waits(r *request) bool {
	return r.Method.Await != nil || r.Method.Act != nil || s.standing.State.Revision() < r.Read.Min
}

// readHere answers an eventual read from this agent's state, or does what a method
// does here.
func (s *Server) readHere(ctx context.Context, r *request) (o outcome) {
	if r.Method.Act != nil {
		return s.act(ctx, r)
	}
	reaching, cancel := context.WithTimeout(ctx, s.standing.ReadWait)
	err := s.standing.Reach(reaching, r.Caller, r.Read.Min)
	cancel()
	if r.Method.Await == nil || err != nil {
		return s.look(r, err)
	}
	if q, is := r.Message.(interface{ GetSince() uint64 }); is {
		err = s.standing.NotAhead(ctx, r.Caller, interrex.Revision(q.GetSince()))
	}
	if err != nil {
		return outcome{err: err}
	}
	return s.await(ctx, r)
}

// act does what a method does here, for an operator, once this agent has applied
// everything that was committed when it was called.
func (s *Server) act(ctx context.Context, r *request) (o outcome) {
	defer s.standing.Guard(r.Method.Procedure, &o.err)
	if err := r.Caller.MayDo(r.Method.May); err != nil {
		return outcome{err: err}
	}
	bounded, cancel := context.WithTimeout(ctx, s.standing.ReadWait)
	defer cancel()
	if err := s.standing.Current(bounded, r.Caller); err != nil {
		return outcome{err: err}
	}
	o.message, o.err = r.Method.Act(ctx, r.Message, s.standing.State)
	return o
}

// await answers a read that may wait.
func (s *Server) await(ctx context.Context, r *request) (o outcome) {
	defer s.standing.Guard(r.Method.Procedure, &o.err)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.calls.Ended, cancel)()
	o.message, o.err = r.Method.Await(ctx, r.Message, s.standing.State)
	return o
}

// readAll answers linearizable reads, all with one request to the leader.
func (s *Server) readAll(ctx context.Context, c door.Caller, reads []*request) []outcome {
	ctx, cancel := context.WithTimeout(ctx, s.standing.ReadWait)
	defer cancel()
	index, err := s.standing.Index(ctx, c)
	applied, waited := err, err != nil
	outcomes := make([]outcome, len(reads))
	for i, r := range reads {
		if r.Method.Index != nil {
			outcomes[i] = outcome{err: err}
			if err == nil {
				outcomes[i].message = r.Method.Index(index)
			}
			continue
		}
		if !waited {
			if applied = s.standing.Quarantined(); applied == nil {
				applied = s.standing.State.WaitApplied(ctx, index)
			}
			waited = true
		}
		failed := applied
		if failed == nil {
			failed = s.standing.Reached(r.Read.Min)
		}
		if failed == nil && r.Method.Leads {
			if o := s.askLeader(ctx, r); o.body != nil {
				outcomes[i] = o
				continue
			}
		}
		outcomes[i] = s.look(r, failed)
	}
	return outcomes
}

// askLeader has the agent that leads answer a read. There is no body where that
// is this agent, or where it could not be asked.
func (s *Server) askLeader(ctx context.Context, r *request) outcome {
	if r.Caller.Door == door.Peer || s.standing.Leadership.Current().Leader {
		return outcome{}
	}
	return s.call(ctx, &request{Call: method.ToLeader(r.Method, r.Caller, r.Message, s.config.Clock.Now().Add(s.standing.ReadWait))})
}

// look reads the table as it is, or fails with err if it is not nil.
func (s *Server) look(r *request, err error) (o outcome) {
	if err != nil {
		return outcome{err: err}
	}
	defer s.standing.Guard(r.Method.Procedure, &o.err)
	o.message, o.err = r.Method.Look(r.Message, s.standing.State)
	return o
}

// LeaderIndex asks the agent that leads for the log index that a linearizable read
// has to wait for.
func (s *Server) LeaderIndex(ctx context.Context, c door.Caller) (uint64, error) {
	m := s.methods.ReadIndex
	o := s.call(ctx, &request{Call: method.ToLeader(m, c, &interrexv1.ReadIndexRequest{}, s.config.Clock.Now().Add(s.standing.ReadWait))})
	if o.err == nil && o.message == nil {
		o.message, o.err = m.DecodeAnswer(o.body)
	}
	if interrex.KindOf(o.err) == interrex.KindOutcomeUnknown { // a read has no unknown outcome
		err := wire.FromDetail(wire.Detail(o.err))
		err.Kind = interrex.KindUnavailable
		o.err = err
	}
	index, _ := o.message.(*interrexv1.ReadIndexResponse)
	return index.GetLogIndex(), o.err
}
