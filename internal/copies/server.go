package copies

import (
	"context"
	"time"

	"connectrpc.com/connect"
	"github.com/juju/clock"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/consistency"
	"github.com/interrex/interrex/internal/wire"
)

// MaxSaves is how many snapshots an agent sends at a time: each keeps what has changed
// since it began in memory a second time.
const MaxSaves = 2

// maxSave is how long sending one may take, for the same reason.
const maxSave = time.Hour

// Server implements MaintenanceService of one agent.
type Server struct {
	// The methods that write are served as those of other services are.
	interrexv1.UnimplementedMaintenanceServiceHandler

	checker  *consistency.Checker
	calls    *admission.Calls
	audit    *admission.Audit
	clock    clock.Clock
	sendWait time.Duration
	saves    chan struct{} // has one for each save that runs
}

var _ interrexv1.MaintenanceServiceHandler = (*Server)(nil)

// New returns a Server. calls counts the open calls, audit logs who has saved what and
// may be nil, and sendWait is how long a peer may take to accept one message.
func New(checker *consistency.Checker, calls *admission.Calls, audit *admission.Audit, by clock.Clock, sendWait time.Duration) *Server {
	return &Server{checker: checker, calls: calls, audit: audit, clock: by, sendWait: sendWait, saves: make(chan struct{}, MaxSaves)}
}

// Save sends a snapshot.
func (s *Server) Save(ctx context.Context, q *connect.Request[interrexv1.SaveRequest], to *connect.ServerStream[interrexv1.SaveResponse]) error {
	if err := s.mayCopy(ctx, interrexv1.MaintenanceServiceSaveProcedure, "save a snapshot"); err != nil {
		return s.checker.RPCError(err)
	}
	ctx, leave, err := s.calls.Begin(ctx, admission.Lasting)
	if err != nil {
		return s.checker.RPCError(err)
	}
	defer leave()
	select {
	case s.saves <- struct{}{}:
		defer func() { <-s.saves }()
	default:
		return s.checker.RPCError(s.busy())
	}
	ctx, cancel := s.calls.EndOn(ctx)
	defer cancel()
	ctx, end := context.WithTimeoutCause(ctx, maxSave, interrex.Errorf(interrex.ErrTimeout,
		"the snapshot was not read within %s: save it nearer to the agent, or to a faster disk", maxSave))
	defer end()
	return s.checker.RPCError(s.save(ctx, q.Msg, to.Send))
}

// mayCopy refuses callers that are not operators.
func (s *Server) mayCopy(ctx context.Context, procedure, what string) error {
	c := admission.CallerOf(ctx)
	if err := c.Doubt(); err != nil {
		return err
	}
	c = c.Now()
	err := c.MayDo(what)
	s.audit.Judged(c, procedure, "", true, err)
	return err
}

func (s *Server) busy() error {
	err := interrex.Errorf(interrex.ErrOverloaded, "agent %s sends %d snapshots already: try again when one of them has ended, or another agent", s.checker.ID, MaxSaves)
	err.RetryAfter = time.Second
	return err
}

// save sends a snapshot of the state once that is as fresh as the request wants.
func (s *Server) save(ctx context.Context, q *interrexv1.SaveRequest, send func(*interrexv1.SaveResponse) error) error {
	read, err := s.fresh(ctx, q)
	if err != nil {
		return err
	}
	out := newParts(ctx, admission.Sender(ctx, s.clock, s.sendWait), send)
	if err := out.reserve(); err != nil {
		return err
	}
	frozen, err := s.checker.State.Copy()
	if err != nil {
		return err
	}
	defer frozen.Release()
	out.about = &interrexv1.Snapshot{AgentId: s.checker.ID, MadeAt: wire.Timestamp(s.clock.Now()), Consistency: wire.Consistency(read)}
	err = frozen.Persist(out)
	switch {
	case err == nil:
		return nil
	case out.err != nil:
		return out.err
	}
	return interrex.Errorf(interrex.ErrUnavailable, "agent %s: %v: try another agent", s.checker.ID, err).WithCause(err)
}

// fresh waits until this agent has what a request wants of it, and returns how it is
// read.
func (s *Server) fresh(ctx context.Context, q *interrexv1.SaveRequest) (interrex.Consistency, error) {
	var in wire.Reader
	read := in.Consistency(q.GetConsistency())
	if in.Err != nil {
		return read, in.Err
	}
	ctx, cancel := context.WithTimeout(ctx, s.checker.ReadWait)
	defer cancel()
	c := admission.CallerOf(ctx)
	if read != interrex.Eventual {
		if err := s.checker.WaitCurrent(ctx, c); err != nil {
			return read, err
		}
		return interrex.Strong, s.checker.CheckReached(interrex.Revision(q.GetMinRevision()))
	}
	return read, s.checker.WaitReached(ctx, c, interrex.Revision(q.GetMinRevision()))
}
