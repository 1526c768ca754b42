package api

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/lease"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/state"
	"github.com/interrex/interrex/wire"
)

// write is one request that may change something, made ready for the log.
type write struct {
	in      *interrexv1.StreamOperation
	caller  caller
	op      state.Operation
	command state.Command // op.Data, decoded

	// enter is the last moment to enter the log.
	enter time.Time
	// until is the end of a claim's wait; zero: it does not wait.
	until time.Time
	wait  queue.Wait
}

// newWrite checks a request. The error is of kind KindInvalid, KindTooLarge or
// KindDenied and names the field.
func newWrite(c caller, in *interrexv1.StreamOperation, now time.Time) (*write, error) {
	w := &write{in: in, caller: c.onBehalf(in.GetCaller())}
	w.op = state.Operation{Table: state.LeaseTable, Caller: w.caller.name, Mark: in.GetMark()}
	if err := w.read(now); err != nil {
		return nil, err
	}
	timeout := queue.EnqueueTimeout
	if w.command.About().Lane == state.LaneExtend {
		timeout = queue.ExtendTimeout
	}
	if in.Timeout != nil {
		if err := in.Timeout.CheckValid(); err != nil || in.Timeout.AsDuration() <= 0 {
			return nil, interrex.Errorf(interrex.KindInvalid, "timeout: %v is none: write a duration above zero", in.Timeout)
		}
		timeout = min(timeout, in.Timeout.AsDuration())
	}
	w.enter = now.Add(timeout)
	return w, nil
}

// read turns the request into the command of its table.
func (w *write) read(now time.Time) error {
	switch r := w.in.GetRequest().(type) {
	case *interrexv1.StreamOperation_Claim:
		return w.claim(r.Claim, now)
	case *interrexv1.StreamOperation_Extend:
		return w.extend(r.Extend)
	case *interrexv1.StreamOperation_Revoke:
		return w.revoke(r.Revoke)
	case *interrexv1.StreamOperation_Transfer:
		return w.transfer(r.Transfer)
	case *interrexv1.StreamOperation_Pin:
		return w.pin(r.Pin)
	case *interrexv1.StreamOperation_Unpin:
		return w.unpin(r.Unpin)
	case *interrexv1.StreamOperation_Retire:
		w.op.Table = state.OwnTable
		w.carry(&state.Retire{Name: r.Retire})
		return nil
	}
	return interrex.Errorf(interrex.KindInvalid, "operation: there is no request in it that this agent knows")
}

// carry gives the write its command.
func (w *write) carry(c state.Command) {
	w.command, w.op.Data = c, c.Append(nil)
}

func (w *write) claim(m *interrexv1.ClaimRequest, now time.Time) error {
	r, err := wire.FromClaim(m)
	if err != nil {
		return err
	}
	c, err := lease.FromClaim(r)
	if err != nil {
		return err
	}
	w.op.RequestID, w.op.Attempt, w.op.Fence = r.RequestID, r.Attempt, r.Fence
	w.carry(c)
	if r.Wait > 0 {
		w.until = now.Add(r.Wait)
		w.wait = queue.Wait{Until: w.until}
		if w.in.GetAsksAgain() {
			w.wait.Every = c.TTL / 4
		}
	}
	return nil
}

func (w *write) extend(m *interrexv1.ExtendRequest) error {
	r, err := wire.FromExtend(m)
	if err != nil {
		return err
	}
	c, err := lease.FromExtend(r)
	w.carry(c)
	return err
}

func (w *write) revoke(m *interrexv1.RevokeRequest) error {
	r, err := wire.FromRevoke(m)
	if err != nil {
		return err
	}
	if r.Force {
		if err := w.caller.mayForce(); err != nil {
			return err
		}
	}
	c, err := lease.FromRevoke(r)
	w.op.RequestID, w.op.Attempt = r.RequestID, r.Attempt
	w.carry(c)
	return err
}

func (w *write) transfer(m *interrexv1.TransferRequest) error {
	r, err := wire.FromTransfer(m)
	if err != nil {
		return err
	}
	c, err := lease.FromTransfer(r)
	w.op.RequestID, w.op.Attempt = r.RequestID, r.Attempt
	w.carry(c)
	return err
}

func (w *write) pin(m *interrexv1.PinRequest) error {
	r, err := wire.FromPin(m)
	if err != nil {
		return err
	}
	c, err := lease.FromPin(r)
	w.op.RequestID, w.op.Attempt = r.RequestID, r.Attempt
	w.carry(c)
	return err
}

func (w *write) unpin(m *interrexv1.UnpinRequest) error {
	r, err := wire.FromUnpin(m)
	if err != nil {
		return err
	}
	c, err := lease.FromUnpin(r)
	w.op.RequestID, w.op.Attempt = r.RequestID, r.Attempt
	w.carry(c)
	return err
}

// waits reports whether the write is a claim that may stand in line.
func (w *write) waits() bool { return !w.until.IsZero() }

// last is the last moment at which the write may be sent to a leader.
func (w *write) last() time.Time {
	if w.waits() && w.until.After(w.enter) {
		return w.until
	}
	return w.enter
}

// operation makes what the queue takes. Each is used once, so every attempt
// makes its own.
func (w *write) operation(now time.Time, stop <-chan struct{}, done func(state.Result)) *queue.Operation {
	op := &queue.Operation{
		Operation: w.op, Command: w.command, Lane: w.command.About().Lane,
		Deadline: w.enter, Stop: stop, Done: done,
	}
	if w.waits() {
		op.Wait = &w.wait
		if !w.enter.After(now) { // sent again after it has stood in line elsewhere
			op.Deadline = now.Add(queue.EnqueueTimeout)
		}
	}
	return op
}

// hop makes what crosses to the leader: the same request, with the caller's
// name and with the times that are left.
func (w *write) hop(now time.Time) *interrexv1.StreamOperation {
	left := w.enter.Sub(now)
	if w.waits() && left <= 0 {
		left = queue.EnqueueTimeout
	}
	out := &interrexv1.StreamOperation{
		Mark:      w.in.GetMark(),
		Timeout:   durationpb.New(max(left, time.Millisecond)),
		Caller:    w.caller.name,
		AsksAgain: w.in.GetAsksAgain(),
		Request:   w.in.GetRequest(),
	}
	if w.waits() {
		claim := proto.CloneOf(w.in.GetClaim())
		claim.Wait = durationpb.New(max(w.until.Sub(now), time.Millisecond))
		out.Request = &interrexv1.StreamOperation_Claim{Claim: claim}
	}
	return out
}

// local lets this agent, which leads, do the write, and waits for its answer.
func (w *write) local(ctx context.Context, s *Server) *interrexv1.StreamAnswer {
	results := make(chan state.Result, 1)
	now := s.config.Clock.Now()
	bound := s.config.Clock.NewTimer(w.last().Sub(now) + s.config.AnswerWait)
	defer bound.Stop()
	op := w.operation(now, ctx.Done(), func(r state.Result) { results <- r })
	s.config.Queue.Enqueue(ctx, op)
	select {
	case r := <-results:
		return s.answer(w, r)
	case <-bound.Chan():
		return s.failure(w.in, errUnanswered())
	case <-ctx.Done():
	}
	// The caller has gone, or the server drains. What has not entered the log
	// leaves the queue, and that is worth telling apart from not knowing.
	grace := s.config.Clock.NewTimer(cancelGrace)
	defer grace.Stop()
	select {
	case r := <-results:
		return s.answer(w, s.canceled(r))
	case <-grace.Chan():
		return s.failure(w.in, errUnanswered())
	}
}

// cancelGrace is how long a call that has ended waits to learn that its
// operation has left the queue.
const cancelGrace = 250 * time.Millisecond

// canceled says draining where that is why an operation left the queue.
func (s *Server) canceled(r state.Result) state.Result {
	if s.calls.draining() && queue.IsCanceled(r.Err) {
		r.Err = drainingError()
	}
	return r
}

func errUnanswered() error {
	return interrex.Errorf(interrex.KindOutcomeUnknown, "cannot say whether it happened: the operation was not answered in time; ask again with the same request id")
}
