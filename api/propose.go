package api

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/wire"
)

// errand is something that only the leader can do.
type errand interface {
	// local does it here, where this agent leads.
	local(context.Context, *Server) *interrexv1.StreamAnswer
	// hop is what another agent, which leads, is asked.
	hop(now time.Time) *interrexv1.StreamOperation
	// last is the last moment to send it to a leader.
	last() time.Time
}

// carry takes an errand to whoever leads, and gives its one answer, whose id
// its caller sets. It is the only place that knows of other agents.
//
// While nobody leads it waits, so that callers do not see every election; what
// a leader has refused because it does not lead, or what provably never
// reached it, is sent again. What may have happened never is. An errand that
// has made its hop already is done here or refused.
func (s *Server) carry(ctx context.Context, c caller, e errand) *interrexv1.StreamAnswer {
	limit := s.limit(e)
	for pause := minPause; ; pause = min(2*pause, maxPause) {
		l, err := s.leader(ctx, c, limit)
		if err != nil {
			return s.failure(nil, err)
		}
		sent := s.config.Clock.Now()
		a, again := s.attempt(ctx, c, e, l)
		if !again || ctx.Err() != nil {
			return a
		}
		now := s.config.Clock.Now()
		if now.Sub(sent) > s.config.LeaderWait { // it stood in line there, until that leader went
			limit, pause = s.limit(e), minPause
		}
		if now.Add(pause).After(limit) || !s.pause(ctx, pause) {
			return a
		}
	}
}

// The time between two attempts: an agent that has just refused to lead takes
// about an election to be followed by another.
const (
	minPause = 10 * time.Millisecond
	maxPause = 160 * time.Millisecond
)

// limit is the last moment to find a leader for e, as of now.
func (s *Server) limit(e errand) time.Time {
	limit := s.config.Clock.Now().Add(s.config.LeaderWait)
	if last := e.last(); last.Before(limit) {
		return last
	}
	return limit
}

// attempt sends the errand to one leader. Again: it provably did not happen
// there, and may at another.
func (s *Server) attempt(ctx context.Context, c caller, e errand, l interrex.Leadership) (a *interrexv1.StreamAnswer, again bool) {
	if l.Leader {
		a = e.local(ctx, s)
		return a, c.door != doorPeer && elsewhere(a)
	}
	now := s.config.Clock.Now()
	ctx, cancel := context.WithTimeout(ctx, e.last().Sub(now)+s.config.AnswerWait)
	defer cancel()
	op := e.hop(now)
	f, err := s.config.Forward(ctx, l.LeaderID)
	if err == nil {
		a, err = f.Call(ctx, op)
	}
	if err != nil {
		a = s.failure(op, wire.FromError(err, true))
	}
	switch interrex.Kind(a.GetError().GetKind()) {
	case interrex.KindUnavailable, interrex.KindDraining:
		// It is not there, or stops: another leads soon. A claim that had stood
		// in line has been told this for another reason. Who asks again does so
		// himself: sent from here, a claim would stand for one who is gone.
		return a, !op.GetAsksAgain() && s.config.Clock.Now().Sub(now) < s.config.LeaderWait
	}
	return a, elsewhere(a)
}

// elsewhere reports whether the answer says that another agent leads.
func elsewhere(a *interrexv1.StreamAnswer) bool {
	switch interrex.Kind(a.GetError().GetKind()) {
	case interrex.KindNotLeader, interrex.KindNoLeader:
		return true
	}
	return false
}

// leader gives who leads; it waits for one until limit.
func (s *Server) leader(ctx context.Context, c caller, limit time.Time) (interrex.Leadership, error) {
	l := s.config.Leadership.Current()
	if l.Leader {
		return l, nil
	}
	if c.door == doorPeer || s.config.Forward == nil && l.LeaderID != "" {
		return l, s.notLeader(l)
	}
	if l.LeaderID != "" && l.LeaderID != s.config.ID {
		return l, nil
	}
	ctx, cancel := context.WithTimeout(ctx, limit.Sub(s.config.Clock.Now()))
	defer cancel()
	for next := s.config.NextLeadership(); ; {
		l, err := next(ctx)
		switch {
		case err != nil:
			return l, s.noLeader()
		case l.Leader, l.LeaderID != "" && l.LeaderID != s.config.ID:
			return l, nil
		}
	}
}

func (s *Server) notLeader(l interrex.Leadership) error {
	if l.LeaderID == "" {
		return s.noLeader()
	}
	err := interrex.Errorf(interrex.KindNotLeader, "agent %s does not lead in term %d, %s does; nothing has happened, ask there", s.config.ID, l.Term, l.LeaderID)
	err.LeaderID, err.LeaderAddress, err.RetryAfter = l.LeaderID, l.LeaderAddress, maxPause
	return err
}

func (s *Server) noLeader() error {
	l := s.config.Leadership.Current()
	err := interrex.Errorf(interrex.KindNoLeader, "agent %s knows of no leader in term %d at revision %d; nothing has happened, try again", s.config.ID, l.Term, s.config.State.Revision())
	err.RetryAfter = 500 * time.Millisecond
	return err
}

// pause waits for d, or until ctx ends: then it is false.
func (s *Server) pause(ctx context.Context, d time.Duration) bool {
	timer := s.config.Clock.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.Chan():
		return true
	case <-ctx.Done():
		return false
	}
}

// readIndex asks the leader for the log index that a linearizable read has to
// wait for.
type readIndex struct{ until time.Time }

func (r readIndex) local(ctx context.Context, s *Server) *interrexv1.StreamAnswer {
	reads, running := s.config.Reads()
	if !running {
		err := interrex.Errorf(interrex.KindUnavailable, "cannot read: raft is not running on agent %s", s.config.ID)
		err.RetryAfter = maxPause
		return s.failure(nil, err)
	}
	index, err := reads.Index(ctx)
	if err == nil {
		err = s.config.State.WaitApplied(ctx, index)
	}
	if err != nil {
		return s.failure(nil, err)
	}
	// The commit index may be that of an entry of raft's own, which no follower's
	// state hears of. The newest entry that is in this state is a real one, and
	// has everything before it that the commit index covers.
	index, _ = s.config.State.Applied()
	return &interrexv1.StreamAnswer{Answer: &interrexv1.StreamAnswer_ReadIndex{
		ReadIndex: &interrexv1.ReadIndexResponse{LogIndex: index},
	}}
}

func (r readIndex) hop(now time.Time) *interrexv1.StreamOperation {
	return &interrexv1.StreamOperation{
		Timeout: durationpb.New(max(r.until.Sub(now), time.Millisecond)),
		Request: &interrexv1.StreamOperation_ReadIndex{ReadIndex: &interrexv1.ReadIndexRequest{}},
	}
}

func (r readIndex) last() time.Time { return r.until }
