package operate

import (
	"context"
	"net/http"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/door"
	"github.com/interrex/interrex/internal/method"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/wire"
)

// Do calls a method by its procedure for what does not come as an RPC, and returns
// its answer.
func (s *Server) Do(ctx context.Context, procedure string, q proto.Message) (proto.Message, error) {
	return s.made(ctx, s.methods.Method(procedure), q)
}

// made calls a method, and returns its answer, made here or elsewhere.
func (s *Server) made(ctx context.Context, m *method.Method, q proto.Message) (proto.Message, error) {
	o := s.alone(ctx, door.CallerOf(ctx), m, q)
	if o.err == nil && o.message == nil {
		return m.DecodeAnswer(o.body)
	}
	return o.message, o.err
}

// Handler serves a method outside a stream: gRPC, Connect, and JSON over HTTP.
func (s *Server) Handler(m *method.Method, o ...connect.HandlerOption) http.Handler {
	return m.Declared.Handler(func(ctx context.Context, q proto.Message) (proto.Message, error) {
		ctx, cancel := early(ctx)
		defer cancel()
		a, err := s.made(ctx, m, q)
		if err != nil {
			return nil, wire.Error(wire.FromDetail(s.standing.Detail(err)))
		}
		return a, nil
	}, o...)
}

// alone handles one call that did not come on a stream.
func (s *Server) alone(ctx context.Context, c door.Caller, m *method.Method, message proto.Message) outcome {
	began := s.config.Clock.Now()
	o := s.unary(ctx, c, m, message, began)
	m.Latency.Answered(s.config.Clock.Now().Sub(began), o.err)
	return o
}

func (s *Server) unary(ctx context.Context, c door.Caller, m *method.Method, message proto.Message, now time.Time) outcome {
	if err := s.calls.Enter(); err != nil {
		return outcome{err: err}
	}
	defer s.calls.Leave(1)
	if err := method.Bounded("request", proto.Size(message)); err != nil {
		return outcome{err: err}
	}
	r := &request{}
	if err := r.Open(s.methods, c, m, nil, message, now); err != nil {
		return outcome{err: err}
	}
	if !m.Writes() {
		return s.readAlone(ctx, r)
	}
	if r.Waits() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(s.calls.Ended, cancel)()
	}
	return s.call(ctx, r)
}

// call takes one request to the leader, and waits for its outcome.
func (s *Server) call(ctx context.Context, r *request) outcome {
	outcomes := make(chan outcome, 1)
	courier := newCourier(ctx, s, r.Caller, func(_ *request, o outcome) { outcomes <- o })
	defer courier.close()
	bound := s.config.Clock.NewTimer(r.Last().Sub(s.config.Clock.Now()) + s.config.LeaderWait + s.config.AnswerWait)
	defer bound.Stop()
	courier.send([]*request{r})
	select {
	case o := <-outcomes:
		return s.answered(r, o)
	case <-bound.Chan():
		r.cancel()
		return outcome{err: errUnanswered()}
	case <-ctx.Done():
	}
	// The caller has gone, or the server drains. An operation that has not
	// entered the log leaves the queue: the caller should learn that, rather
	// than that the outcome is unknown.
	r.cancel()
	grace := s.config.Clock.NewTimer(cancelGrace)
	defer grace.Stop()
	select {
	case o := <-outcomes:
		return s.answered(r, o)
	case <-grace.Chan():
		return outcome{err: errUnanswered()}
	}
}

// answered makes the answer from the log's result. A panic there fails only
// this request: the operation has happened, and the stream may be another
// agent's, with the requests of many.
func (s *Server) answered(r *request, o outcome) (made outcome) {
	defer s.standing.Guard(r.Method.Procedure, &made.err)
	if s.calls.Draining() && queue.IsCanceled(o.err) {
		o.err = door.DrainingError()
	}
	if o.err == nil && o.logged {
		o.message, o.err = r.Answer(s.standing.State)
	}
	return o
}

// cancelGrace is how long a call that has ended waits to learn that its
// operation has left the queue.
const cancelGrace = 250 * time.Millisecond

func errUnanswered() error {
	return interrex.Errorf(interrex.KindOutcomeUnknown, "cannot say whether it happened: the operation was not answered in time; ask again with the same request id")
}

// maxEarly is the most of a caller's time that is reserved for the answer to
// get back.
const maxEarly = 100 * time.Millisecond

// early returns a context that ends a little before ctx does: the answer that
// nothing has happened must arrive while the caller is still there, or it must
// take the outcome for unknown.
func early(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, deadline.Add(-min(maxEarly, time.Until(deadline)/5)))
}
