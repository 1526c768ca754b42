package api

import (
	"context"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/wire"
)

// readOptions say how fresh a read must be.
type readOptions struct {
	eventual bool // this agent, now
	min      interrex.Revision
}

// readOptionsOf reads them from a request of a method, if it has such fields.
func readOptionsOf(method *Method, m proto.Message) (o readOptions, err error) {
	var in wire.Reader
	o.eventual = method.eventual
	if q, is := m.(interface {
		GetConsistency() interrexv1.Consistency
	}); is {
		if c := in.Consistency(q.GetConsistency()); c != interrex.Default {
			o.eventual = c == interrex.Eventual
		}
	}
	if q, is := m.(interface{ GetMinRevision() uint64 }); is {
		o.min = interrex.Revision(q.GetMinRevision())
	}
	return o, in.Err
}

// readAlone answers one read.
func (s *Server) readAlone(ctx context.Context, r *request) outcome {
	if !r.read.eventual {
		return s.readAll(ctx, r.caller, []*request{r})[0]
	}
	return s.readHere(ctx, r)
}

// waits reports whether an eventual read may have to wait: for a revision, for
// what it asks for, or for what its method does.
func (s *Server) waits(r *request) bool {
	return r.method.await != nil || r.method.act != nil || s.config.State.Revision() < r.read.min
}

// readHere answers an eventual read from this agent's state, or does what a method
// does here.
func (s *Server) readHere(ctx context.Context, r *request) (o outcome) {
	if r.method.act != nil {
		defer s.guard(r.method.Number, &o.err)
		o.message, o.err = r.method.act(ctx, s, r)
		return o
	}
	reaching, cancel := context.WithTimeout(ctx, s.config.ReadWait)
	err := s.reach(reaching, r.caller, r.read.min)
	cancel()
	if r.method.await == nil || err != nil {
		return s.look(r, err)
	}
	if q, is := r.message.(interface{ GetSince() uint64 }); is {
		err = s.notAhead(ctx, r.caller, interrex.Revision(q.GetSince()))
	}
	if err != nil {
		return outcome{err: err}
	}
	return s.await(ctx, r)
}

// await answers a read that may wait.
func (s *Server) await(ctx context.Context, r *request) (o outcome) {
	defer s.guard(r.method.Number, &o.err)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.calls.ended, cancel)()
	o.message, o.err = r.method.await(ctx, r.message, s.config.State)
	return o
}

// readAll answers linearizable reads, all with one request to the leader.
func (s *Server) readAll(ctx context.Context, c caller, reads []*request) []outcome {
	ctx, cancel := context.WithTimeout(ctx, s.config.ReadWait)
	defer cancel()
	index, err := s.index(ctx, c)
	applied, waited := err, err != nil
	outcomes := make([]outcome, len(reads))
	for i, r := range reads {
		if r.method.index != nil {
			outcomes[i] = outcome{err: err}
			if err == nil {
				outcomes[i].message = r.method.index(index)
			}
			continue
		}
		if !waited {
			if applied = s.quarantined(); applied == nil {
				applied = s.config.State.WaitApplied(ctx, index)
			}
			waited = true
		}
		failed := applied
		if failed == nil {
			failed = s.reached(r.read.min)
		}
		if failed == nil && r.method.leads {
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
	if r.caller.door == doorPeer || s.config.Leadership.Current().Leader {
		return outcome{}
	}
	return s.call(ctx, &request{
		method: r.method, caller: r.caller, envelope: &interrexv1.Operation{}, message: r.message,
		errand: &errand{enter: s.config.Clock.Now().Add(s.config.ReadWait)},
	})
}

// look reads the table as it is, or fails with err if it is not nil.
func (s *Server) look(r *request, err error) (o outcome) {
	if err != nil {
		return outcome{err: err}
	}
	defer s.guard(r.method.Number, &o.err)
	o.message, o.err = r.method.read(r.message, s.config.State)
	return o
}

// current waits until this agent has applied everything that was committed when
// it was called.
func (s *Server) current(ctx context.Context, c caller) error {
	if err := s.quarantined(); err != nil {
		return err
	}
	index, err := s.index(ctx, c)
	if err != nil {
		return err
	}
	return s.config.State.WaitApplied(ctx, index)
}

// index returns the log index that a linearizable read has to wait for.
func (s *Server) index(ctx context.Context, c caller) (uint64, error) {
	if s.config.Leadership.Current().Leader {
		if index, err := s.indexHere(ctx); c.door == doorPeer || !elsewhere(interrex.KindOf(err)) {
			return index, err
		}
	}
	r := &request{
		method: s.readIndex, caller: c, envelope: &interrexv1.Operation{}, message: &interrexv1.ReadIndexRequest{},
		errand: &errand{enter: s.config.Clock.Now().Add(s.config.ReadWait)},
	}
	o := s.call(ctx, r)
	m, is := o.message.(*interrexv1.ReadIndexResponse)
	if o.err == nil && !is {
		m, o.err = read[interrexv1.ReadIndexResponse](o.body)
	}
	if interrex.KindOf(o.err) == interrex.KindOutcomeUnknown { // a read has no unknown outcome
		err := wire.FromDetail(wire.Detail(o.err))
		err.Kind = interrex.KindUnavailable
		o.err = err
	}
	return m.GetLogIndex(), o.err
}

// indexHere is index where this agent leads.
func (s *Server) indexHere(ctx context.Context) (uint64, error) {
	reads, running := s.config.Reads()
	if !running {
		err := interrex.Errorf(interrex.KindUnavailable, "cannot read: raft is not running on agent %s", s.config.ID)
		err.RetryAfter = maxPause
		return 0, err
	}
	index, err := reads.Index(ctx)
	if err == nil {
		err = s.config.State.WaitApplied(ctx, index)
	}
	if err != nil {
		return 0, err
	}
	// The commit index may be that of one of raft's own entries, which no
	// follower's state sees. The newest entry in this state is a real one, and
	// everything that the commit index covers comes before it.
	index, _ = s.config.State.Applied()
	return index, nil
}

// reached refuses a revision that the state, which is current, does not stand
// at: nobody can have seen it.
func (s *Server) reached(min interrex.Revision) error {
	if now := s.config.State.Revision(); now < min {
		return interrex.Errorf(interrex.KindInvalid, "min_revision: %d has not been reached by the cluster, which stands at %d", min, now)
	}
	return nil
}

// begun refuses to read a state that has not applied anything yet: an agent that
// was restarted has not read its log, and would say that nothing is there.
func (s *Server) begun() error {
	if err := s.quarantined(); err != nil {
		return err
	}
	if index, _ := s.config.State.Applied(); index > 0 {
		return nil
	}
	return interrex.Errorf(interrex.KindUnavailable, "cannot read: agent %s has not applied its log yet: it waits for a leader to say what is committed", s.config.ID)
}

// quarantined refuses to read a state that lacks what this agent has stored.
func (s *Server) quarantined() error {
	if s.config.Quarantine == nil {
		return nil
	}
	why := s.config.Quarantine()
	if why == nil {
		return nil
	}
	err := interrex.Errorf(interrex.KindUnavailable, "cannot read from agent %s: %v", s.config.ID, why)
	err.RetryAfter = maxPause
	return err
}

// reach waits until a revision is applied here. The leader is asked whether
// there is such a revision at all; with no leader, the wait alone decides.
func (s *Server) reach(ctx context.Context, c caller, min interrex.Revision) error {
	if s.config.State.Revision() >= min {
		return s.begun()
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel(nil)
	asking.Go(func() {
		if s.current(ctx, c) != nil {
			return
		}
		if err := s.reached(min); err != nil {
			cancel(err)
		}
	})
	err := s.config.State.WaitRevision(ctx, min)
	if err != nil && interrex.KindOf(context.Cause(ctx)) == interrex.KindInvalid {
		return context.Cause(ctx)
	}
	return err
}
