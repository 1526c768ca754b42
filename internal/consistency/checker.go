package consistency

import (
	"context"
	"errors"
	"runtime/debug"
	"sync"
	"time"

	"connectrpc.com/connect"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/watch"
	"github.com/interrex/interrex/internal/wire"
)

// MaxPause is how long a caller should wait before it retries what this agent
// cannot do now.
const MaxPause = 160 * time.Millisecond

// Leadership reports who leads; the agent's leadership tracker implements it.
type Leadership interface {
	// Current never blocks.
	Current() interrex.Leadership
}

// Reads determines the log index of strong reads.
type Reads interface {
	// Index returns the log index that a linearizable read has to wait for.
	Index(ctx context.Context) (uint64, error)
}

// Config configures a Checker. All fields are required unless marked optional.
type Config struct {
	ID         string
	State      *machine.State
	Ring       *watch.Ring
	Leadership Leadership
	// Reads returns the strong reads of this agent; false while raft is down.
	Reads func() (Reads, bool)
	// AskLeader requests the log index of linearizable reads from the leader.
	AskLeader func(context.Context, admission.Caller) (uint64, error)
	// Quarantine returns why this agent's state must not be read; nil if it may
	// be. Optional.
	Quarantine func() error
	// Removed returns an error of kind ErrRemoved once this agent was removed from its
	// cluster. Optional.
	Removed func() error
	// ReadWait bounds a wait for a revision or a log index.
	ReadWait time.Duration
	Logger   interface {
		Errorf(format string, args ...any)
	}
}

// Checker checks and waits for the state of one agent.
type Checker struct {
	Config
	asks asks
}

// New returns a Checker.
func New(c Config) *Checker { return &Checker{Config: c} }

// Detail returns the detail of an error, which names the leader where that helps.
func (s *Checker) Detail(err error) *interrexv1.Error {
	m := wire.Detail(err)
	kind := interrex.Kind(m.Kind)
	if m.LeaderId == "" && (kind.Retryable() || kind == interrex.ErrOutcomeUnknown) {
		l := s.Leadership.Current()
		m.LeaderId, m.LeaderAddress = l.LeaderID, l.LeaderAddress
	}
	return m
}

// NotLeader returns this agent's error when another one leads.
func (s *Checker) NotLeader(l interrex.Leadership) error {
	if l.LeaderID == "" || l.LeaderID == s.ID { // this agent is not ready to lead
		return s.NoLeader()
	}
	err := interrex.Errorf(interrex.ErrNotLeader, "agent %s does not lead in term %d, %s does; nothing has happened, try there", s.ID, l.Term, l.LeaderID)
	err.LeaderID, err.LeaderAddress, err.RetryAfter = l.LeaderID, l.LeaderAddress, MaxPause
	return err
}

// NoLeader returns this agent's error when it knows of no leader.
func (s *Checker) NoLeader() error {
	if err := s.checkRemoved(); err != nil {
		return err
	}
	l := s.Leadership.Current()
	err := interrex.Errorf(interrex.ErrNoLeader, "agent %s knows of no leader in term %d at revision %d; nothing has happened, try again", s.ID, l.Term, s.State.Revision())
	err.RetryAfter = 500 * time.Millisecond
	return err
}

// RPCError returns the error that ends a stream; nil if err is nil.
func (s *Checker) RPCError(err error) error {
	if err == nil {
		return nil
	}
	var answered *connect.Error
	if interrex.KindOf(err) == "" && errors.As(err, &answered) {
		return answered
	}
	return wire.Error(wire.FromDetail(s.Detail(err)))
}

// Guard converts a panic in a method's own code to an error.
func (s *Checker) Guard(procedure string, err *error) {
	if reason := recover(); reason != nil {
		*err = s.Panicked(procedure, reason)
	}
}

// Panicked logs a panic, and returns the error of the call that it ended.
func (s *Checker) Panicked(procedure string, reason any) error {
	s.Logger.Errorf("panic in %s: %v\n%s", procedure, reason, debug.Stack())
	return interrex.Errorf(interrex.ErrOutcomeUnknown, "agent %s failed while it answered: %v", s.ID, reason)
}

// WaitCurrent waits until this agent has applied everything that was committed when
// it was called.
func (s *Checker) WaitCurrent(ctx context.Context, c admission.Caller) error {
	if err := s.CheckQuarantine(); err != nil {
		return err
	}
	index, err := s.Index(ctx, c)
	if err != nil {
		return err
	}
	return s.State.WaitApplied(ctx, index)
}

// Index returns the log index that a linearizable read has to wait for.
func (s *Checker) Index(ctx context.Context, c admission.Caller) (uint64, error) {
	if s.Leadership.Current().Leader {
		if index, err := s.IndexHere(ctx); c.Door == admission.Peer || !Elsewhere(interrex.KindOf(err)) {
			return index, err
		}
	}
	return s.askLeader(ctx, c)
}

// Elsewhere reports whether an error says that another agent leads.
func Elsewhere(k interrex.Kind) bool {
	return k == interrex.ErrNotLeader || k == interrex.ErrNoLeader
}

// IndexHere is Index for the agent that leads.
func (s *Checker) IndexHere(ctx context.Context) (uint64, error) {
	reads, running := s.Reads()
	if !running {
		err := interrex.Errorf(interrex.ErrUnavailable, "cannot read: raft is not running on agent %s", s.ID)
		err.RetryAfter = MaxPause
		return 0, err
	}
	index, err := reads.Index(ctx)
	if err == nil {
		err = s.State.WaitApplied(ctx, index)
	}
	if err != nil {
		return 0, err
	}
	// The commit index may be that of one of raft's own entries, which no
	// follower's state applies. The newest entry applied here is not, and includes
	// everything that the commit index covers.
	index, _ = s.State.Applied()
	return index, nil
}

// CheckReached refuses a revision above that of the state, which is current: nobody
// can have seen it.
func (s *Checker) CheckReached(min interrex.Revision) error {
	if now := s.State.Revision(); now < min {
		return interrex.Errorf(interrex.ErrInvalid, "min_revision: %d has not been reached by the cluster, which is at %d", min, now)
	}
	return nil
}

// CheckApplied refuses to read a state that has not applied anything yet: a restarted
// agent has not read its log, and would answer that nothing exists.
func (s *Checker) CheckApplied() error {
	if err := s.CheckQuarantine(); err != nil {
		return err
	}
	if index, _ := s.State.Applied(); index > 0 {
		return nil
	}
	return interrex.Errorf(interrex.ErrUnavailable, "cannot read: agent %s has not applied its log yet: it waits to learn from a leader what is committed", s.ID)
}

func (s *Checker) checkRemoved() error {
	if s.Removed == nil {
		return nil
	}
	return s.Removed()
}

// CheckQuarantine refuses to read a state that lacks entries which this agent stored,
// or that gets no more.
func (s *Checker) CheckQuarantine() error {
	if err := s.checkRemoved(); err != nil {
		return err
	}
	if s.Quarantine == nil {
		return nil
	}
	why := s.Quarantine()
	if why == nil {
		return nil
	}
	err := interrex.Errorf(interrex.ErrUnavailable, "cannot read from agent %s: %v", s.ID, why)
	err.RetryAfter = MaxPause
	return err
}

// WaitReached waits until a revision is applied here. It fails early if the leader
// reports that there is no such revision; without a leader it only waits.
func (s *Checker) WaitReached(ctx context.Context, c admission.Caller, min interrex.Revision) error {
	if s.State.Revision() >= min {
		return s.CheckApplied()
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel(nil)
	asking.Go(func() {
		if s.WaitCurrent(ctx, c) != nil {
			return
		}
		if err := s.CheckReached(min); err != nil {
			cancel(err)
		}
	})
	err := s.State.WaitRevision(ctx, min)
	if err != nil && interrex.KindOf(context.Cause(ctx)) == interrex.ErrInvalid {
		return context.Cause(ctx)
	}
	return err
}

// Ahead reports whether this agent has not yet reached a revision that a watch
// begins after. The ring has a revision slightly before the state.
func (s *Checker) Ahead(since interrex.Revision) bool {
	return since > max(s.State.Revision(), s.Ring.Stats().Last)
}

// CatchUp waits, for at most ReadWait, until this agent has applied either
// everything that was committed at the call, or a revision. The error is why
// neither happened; after the second it may be that of the canceled first.
func (s *Checker) CatchUp(ctx context.Context, c admission.Caller, to interrex.Revision) (err error) {
	defer s.Guard(interrexv1.StateServiceReadIndexProcedure, &err)
	ctx, cancel := context.WithTimeout(ctx, s.ReadWait)
	var waiting sync.WaitGroup
	defer waiting.Wait()
	defer cancel()
	waiting.Go(func() {
		if s.State.WaitRevision(ctx, to) == nil {
			cancel()
		}
	})
	return s.WaitCurrent(ctx, c)
}

// WaitSince waits, for at most ReadWait, until this agent has reached the revision
// from which a request continues; the error is that of RefuseFuture.
func (s *Checker) WaitSince(ctx context.Context, c admission.Caller, since interrex.Revision) error {
	if !s.Ahead(since) {
		return s.CheckLoss(since)
	}
	return s.RefuseFuture(since, s.CatchUp(ctx, c, since))
}

// RefuseFuture returns why a request cannot continue from a revision that was ahead
// of this agent; nil if the agent has reached it meanwhile. lag is the error of the
// attempt to catch up.
func (s *Checker) RefuseFuture(since interrex.Revision, lag error) error {
	now := s.State.Revision()
	switch {
	case !s.Ahead(since):
		return s.CheckLoss(since)
	case lag == nil:
		return interrex.Errorf(interrex.ErrInvalid, "since %d is in the future: the cluster is at revision %d", since, now)
	}
	err := interrex.Errorf(interrex.ErrUnavailable, "since %d: agent %s is at revision %d, and cannot find out whether the cluster has reached it: %v", since, s.ID, now, lag)
	err.RetryAfter = max(MaxPause, interrex.RetryAfter(lag))
	return err.WithCause(lag)
}

// CheckLoss refuses to continue after a revision that was lost in a recovery.
func (s *Checker) CheckLoss(since interrex.Revision) error {
	loss := s.State.Loss()
	if !loss.Lost(since) {
		return nil
	}
	err := interrex.Errorf(interrex.ErrCompacted, "since %d: the cluster was recovered, and the changes after revision %d are lost: list again, or request since %d", since, loss.From, loss.From)
	err.FirstRevision = loss.From
	return err
}
