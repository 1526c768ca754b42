package api

import (
	"context"
	"sync"

	"github.com/interrex/interrex"
)

// ahead reports whether a watch is to begin after a revision that this agent has
// not reached. The ring knows of a revision just before the state does.
func (s *Server) ahead(since interrex.Revision) bool {
	return since > max(s.config.State.Revision(), s.config.Ring.Stats().Last)
}

// catchUp waits, for at most ReadWait, until this agent has applied everything
// that was committed when it was called, or a revision. The error is why it has
// done neither, or that it no longer waits for the first.
func (s *Server) catchUp(ctx context.Context, c caller, to interrex.Revision) (err error) {
	defer s.guard(s.readIndex.Number, &err)
	ctx, cancel := context.WithTimeout(ctx, s.config.ReadWait)
	var waiting sync.WaitGroup
	defer waiting.Wait()
	defer cancel()
	waiting.Go(func() {
		if s.config.State.WaitRevision(ctx, to) == nil {
			cancel()
		}
	})
	return s.current(ctx, c)
}

// notAhead waits, for at most ReadWait, until this agent has reached a revision
// that a request continues from; the error is that of refuseFuture.
func (s *Server) notAhead(ctx context.Context, c caller, since interrex.Revision) error {
	if !s.ahead(since) {
		return s.notLost(since)
	}
	return s.refuseFuture(since, s.catchUp(ctx, c, since))
}

// refuseFuture returns why a request cannot continue from a revision that was ahead
// of this agent, which has tried to catch up since, with the error lag; nil: it
// has reached it.
func (s *Server) refuseFuture(since interrex.Revision, lag error) error {
	now := s.config.State.Revision()
	switch {
	case !s.ahead(since):
		return s.notLost(since)
	case lag == nil:
		return interrex.Errorf(interrex.KindInvalid, "since %d is in the future: the cluster is at revision %d", since, now)
	}
	err := interrex.Errorf(interrex.KindUnavailable, "since %d: agent %s is at revision %d, and cannot find out whether the cluster has got there: %v", since, s.config.ID, now, lag)
	err.RetryAfter = max(maxPause, interrex.RetryAfter(lag))
	return err.WithCause(lag)
}

// notLost refuses to read on after a revision that a recovery has lost.
func (s *Server) notLost(since interrex.Revision) error {
	loss := s.config.State.Loss()
	if !loss.Lost(since) {
		return nil
	}
	err := interrex.Errorf(interrex.KindCompacted, "since %d: the cluster was recovered, and the changes after revision %d are lost: list again, or ask since %d", since, loss.From, loss.From)
	err.FirstRevision = loss.From
	return err
}

// catchUp asks the leader how far the cluster has come, for the watches that are
// ahead of this agent. Those that arrive meanwhile wait for the next time: they
// may have seen more.
func (st *watchStream) catchUp() {
	if len(st.catching) > 0 || len(st.audience.ahead) == 0 {
		return
	}
	st.catching, st.audience.ahead = st.audience.ahead, nil
	var to interrex.Revision
	for _, w := range st.catching {
		to = max(to, w.since)
	}
	st.work.Go(func() {
		st.caughtUp <- st.server.catchUp(st.ctx, st.audience.caller, to)
	})
}

// settle begins or refuses the watches that were ahead.
func (st *watchStream) settle(lag error, out *message) {
	for _, w := range st.catching {
		if !w.over {
			st.audience.enter(w, st.server.refuseFuture(w.since, lag), out)
		}
	}
	st.catching = nil
}
