package operations

import (
	"context"
	"math"
	"net/http"
	"runtime"
	"slices"
	"time"

	"connectrpc.com/connect"
	"github.com/juju/clock"
	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/consistency"
	"github.com/interrex/interrex/internal/hookcaller"
	"github.com/interrex/interrex/internal/method"
	"github.com/interrex/interrex/internal/webhook"
	"github.com/interrex/interrex/internal/wire"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/state"
)

// maxMessages is the largest number of operations in one message of a stream.
const maxMessages = wire.MaxOperations

// Forwarder sends operations to one other agent, many at once.
type Forwarder interface {
	// Send sends operations, in as few messages as they fit into. done is called
	// once for each, with its index in ops and its answer, on any goroutine, and
	// does not block: the answer's bytes, or an *interrex.Error, of
	// ErrOutcomeUnknown when the operation may have happened. abandon ends the
	// wait for an answer.
	Send(ops []*interrexv1.Operation, done func(i int, body []byte, err error)) (abandon func(i int))
}

// Config configures a Server. All fields are required unless marked optional.
type Config struct {
	Queue    *queue.Queue
	Visitors *Visitors
	// NextLeadership begins a watch of the leadership: the function that it returns
	// reports the current one at its first call, and waits for a change at every
	// later one, until its context ends.
	NextLeadership func() func(context.Context) (interrex.Leadership, error)
	// Forward returns a Forwarder to another agent. Optional: without it a request
	// that only the leader can handle fails elsewhere with ErrNotLeader.
	Forward func(ctx context.Context, id string) (Forwarder, error)
	// Vet returns how this leader examines a command before it is proposed; nil: it does
	// not. The function that it returns may wait, within its context, and returns why the
	// command is not proposed. Vet must not block. Optional.
	Vet func(table state.TableID, c state.Command) func(context.Context) error
	// Hooks returns all webhooks.
	Hooks func() []*webhook.Hook
	// Ask calls webhooks before an operation; wait waits for their verdict.
	Ask func([]*webhook.Hook, hookcaller.Question) (wait func(context.Context) error, err error)

	Clock clock.Clock
	// LeaderWait is how long a request waits for a leader to be elected, AnswerWait
	// bounds the time from an operation's deadline for entering the log, or the end
	// of its wait, to its answer, and SendWait is how long the peer of a stream may
	// take to accept a message.
	LeaderWait, AnswerWait, SendWait time.Duration
	// MaxOpen is how many operations may be open on one stream.
	MaxOpen int
}

// Server executes the calls that arrive at one agent.
type Server struct {
	config  Config
	checker *consistency.Checker
	methods *method.Registry
	calls   *admission.Calls
	long    *turns // of reads that are not quick
}

// New returns a Server. checker and methods are those of the agent, and calls
// counts the open calls.
func New(c Config, checker *consistency.Checker, methods *method.Registry, calls *admission.Calls) *Server {
	return &Server{config: c, checker: checker, methods: methods, calls: calls, long: newTurns(max(1, runtime.GOMAXPROCS(0)/2), c.Clock)}
}

// OperateHandler serves StreamService/Operate. Its answers are not compressed: that takes
// longer than a list does.
func (s *Server) OperateHandler(o ...connect.HandlerOption) http.Handler {
	stream := connect.NewBidiStreamHandler(interrexv1.StreamServiceOperateProcedure, s.operate, append(o, connect.WithCodec(wire.StreamCodec{}), connect.WithCompressMinBytes(math.MaxInt))...)
	return s.calls.Handler(admission.Lasting, stream)
}

// operate serves one stream until its peer has closed it and all operations are
// answered, or until the server has drained.
func (s *Server) operate(ctx context.Context, conn *connect.BidiStream[interrexv1.OperateRequest, interrexv1.OperateResponse]) error {
	ctx, cancel := context.WithCancelCause(ctx)
	ended, release := s.calls.EndedFor(ctx)
	defer release()
	st := &stream{
		server: s, conn: conn, caller: admission.CallerOf(ctx), account: admission.AccountOf(ctx), ctx: ctx, end: cancel, ended: ended,
		wake: make(chan struct{}, 1), open: map[uint64]*request{},
	}
	st.courier = newCourier(ctx, s, st.caller, st.settle)
	received := make(chan error, 1)
	go func() { received <- st.guarded(st.receive) }()
	err := st.guarded(func() error { return st.write(received) })
	cancel(err)
	if !st.received && admission.StopReading(ctx) {
		<-received // its read deadline has passed: it is about to return
	}
	st.close()
	return s.checker.RPCError(err)
}

// Do calls a method by its procedure, for requests that are not RPCs, and returns
// its response.
func (s *Server) Do(ctx context.Context, procedure string, q proto.Message) (proto.Message, error) {
	m := s.methods.Method(procedure)
	o := s.alone(ctx, m, q, notEncoded)
	if o.err == nil && o.message == nil {
		return m.DecodeAnswer(o.body)
	}
	return o.message, o.err
}

// Handler serves a method outside a stream: gRPC, Connect, and JSON over HTTP.
func (s *Server) Handler(m *method.Method, o ...connect.HandlerOption) http.Handler {
	return m.Declared.Handler(func(ctx context.Context, h http.Header, q proto.Message) (any, error) {
		ctx, cancel := early(ctx)
		defer cancel()
		in := inProto
		if wire.WantsJSON(h) {
			in = inJSON
		}
		o := s.alone(ctx, m, q, in)
		if o.err == nil && in == inJSON && o.message == nil && o.json == nil { // another agent made it
			o.message, o.err = m.DecodeAnswer(o.body)
		}
		if o.err != nil {
			return nil, wire.Error(wire.FromDetail(s.checker.Detail(o.err)))
		}
		return &wire.Response{Message: o.message, Proto: o.body, JSON: o.json}, nil
	}, o...)
}

// alone handles one call that did not arrive on a stream.
func (s *Server) alone(ctx context.Context, m *method.Method, message proto.Message, in encoding) outcome {
	began := s.config.Clock.Now()
	o := s.unary(ctx, m, &request{encoding: in}, message, began)
	m.Latency.Answered(s.config.Clock.Now().Sub(began), o.err)
	return o
}

func (s *Server) unary(ctx context.Context, m *method.Method, r *request, message proto.Message, now time.Time) outcome {
	size := proto.Size(message)
	if err := method.Bounded("request", size); err != nil {
		return outcome{err: err}
	}
	if err := r.Open(s.methods, admission.CallerOf(ctx), m, nil, message, now); err != nil {
		return outcome{err: err}
	}
	ctx, end, err := s.calls.Begin(ctx, r.Kind())
	if err != nil {
		return outcome{err: err}
	}
	defer end()
	account := admission.AccountOf(ctx)
	account.Rest(admission.RequestBytes) // the body was read
	if err := r.take(account, operationCost*size); err != nil {
		return outcome{err: err}
	}
	if !m.Writes() {
		return s.readAlone(ctx, r)
	}
	if r.Waits() {
		var cancel context.CancelFunc
		ctx, cancel = s.calls.EndOn(ctx)
		defer cancel()
	}
	o := s.call(ctx, r)
	r.keep(account, o)
	return o
}

// call sends one request to the leader, and waits for its outcome.
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
	// The caller has gone, or the server drains. An operation that has not entered
	// the log leaves the queue: the caller should learn that, and not that the
	// outcome is unknown.
	if interrex.KindOf(context.Cause(ctx)) == interrex.ErrDraining {
		r.expel()
	} else {
		r.cancel()
	}
	grace := s.config.Clock.NewTimer(cancelGrace)
	defer grace.Stop()
	select {
	case o := <-outcomes:
		return s.answered(r, o)
	case <-grace.Chan():
		return outcome{err: errUnanswered()}
	}
}

// answered makes the response from the log's result. A panic fails only this
// request: the operation has happened, and the stream may be another agent's, with
// the requests of many callers.
func (s *Server) answered(r *request, o outcome) (made outcome) {
	defer s.checker.Guard(r.Method.Procedure, &made.err)
	if r.isExpelled() && queue.IsCanceled(o.err) {
		o.err = admission.DrainingError()
	}
	if o.err == nil && o.logged {
		o.message, o.err = r.Answer(s.checker.State)
	}
	return o
}

// cancelGrace is how long an ended call waits to learn that its operation has left
// the queue.
const cancelGrace = 250 * time.Millisecond

func errUnanswered() error {
	return interrex.Errorf(interrex.ErrOutcomeUnknown, "the operation was not answered in time, so its outcome is unknown: retry with the same request id")
}

// maxEarly is the most time that is reserved for the response to reach the caller.
const maxEarly = 100 * time.Millisecond

// early returns a context that ends slightly before ctx: the answer that nothing
// has happened must arrive before the caller gives up and has to assume that the
// outcome is unknown.
func early(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, deadline.Add(-min(maxEarly, time.Until(deadline)/5)))
}

// vet returns how a request is examined before it is proposed; nil: it is not.
func (s *Server) vet(r *request) func(context.Context) error {
	if s.config.Vet == nil {
		return nil
	}
	var checks []func(context.Context) error
	for table, c := range r.Commands() {
		if check := s.config.Vet(table, c); check != nil {
			checks = append(checks, check)
		}
	}
	if len(checks) == 0 {
		return nil
	}
	return func(ctx context.Context) error {
		for _, check := range checks {
			if err := check(ctx); err != nil {
				return err
			}
		}
		return nil
	}
}

// hooksFor returns the hooks to call before a request; nil if there are none.
func (s *Server) hooksFor(r *request) (wanted []*webhook.Hook) {
	hooks := s.config.Hooks()
	if len(hooks) == 0 {
		return nil
	}
	all := r.Announces()
	for _, h := range hooks {
		if slices.ContainsFunc(all, func(a method.Announced) bool { return h.Asks(a.Announcement) }) {
			wanted = append(wanted, h)
		}
	}
	return wanted
}

// readAlone answers one read.
func (s *Server) readAlone(ctx context.Context, r *request) outcome {
	account := admission.AccountOf(ctx)
	if !r.Read.Eventual {
		ctx, cancel := context.WithTimeout(ctx, s.checker.ReadWait)
		defer cancel()
		return r.weighed(account, r.guess(), func() outcome { return s.confirm(ctx, r.Caller, []*request{r})(r) })
	}
	return r.weighed(account, 0, func() outcome { return s.readHere(ctx, r, nil) })
}

// waits reports whether an eventual read may have to wait: for a revision, or in its
// method.
func (s *Server) waits(r *request) bool {
	return r.Method.Await != nil || r.Method.Act != nil || s.checker.State.Revision() < r.Read.Min
}

// readHere answers an eventual read from this agent's state, or runs the method's
// action here. room, if not nil, waits until there is room for the answer, before it is
// made; a method that waits itself makes it without.
func (s *Server) readHere(ctx context.Context, r *request, room func() error) (o outcome) {
	if r.Method.Act != nil {
		return s.act(ctx, r)
	}
	reaching, cancel := context.WithTimeout(ctx, s.checker.ReadWait)
	err := s.checker.WaitReached(reaching, r.Caller, r.Read.Min)
	cancel()
	if r.Method.Await == nil && err == nil && room != nil {
		err = room()
	}
	if r.Method.Await == nil || err != nil {
		return s.look(ctx, r, err)
	}
	if q, is := r.Message.(interface{ GetSince() uint64 }); is {
		err = s.checker.WaitSince(ctx, r.Caller, interrex.Revision(q.GetSince()))
	}
	if err != nil {
		return outcome{err: err}
	}
	return s.await(ctx, r)
}

// act runs a method's action for an operator, here or at the leader, once that agent
// has applied everything that was committed at the call.
func (s *Server) act(ctx context.Context, r *request) (o outcome) {
	defer s.checker.Guard(r.Method.Procedure, &o.err)
	if r.Method.Leads {
		if o := s.askLeader(ctx, r); o.err != nil || o.body != nil {
			return o
		}
	}
	bounded, cancel := context.WithTimeout(ctx, s.checker.ReadWait)
	defer cancel()
	if err := s.checker.WaitCurrent(bounded, r.Caller); err != nil {
		return outcome{err: err}
	}
	o.message, o.err = r.Method.Act(ctx, r.Message, s.checker.State)
	return o
}

// await answers a read that may wait.
func (s *Server) await(ctx context.Context, r *request) (o outcome) {
	defer s.checker.Guard(r.Method.Procedure, &o.err)
	ctx, cancel := s.calls.EndOn(ctx)
	defer cancel()
	o.message, o.err = r.Method.Await(ctx, r.Message, s.checker.State)
	return o
}

// confirm makes a single request to the leader for linearizable reads, waits until this
// agent has applied what it has to, and returns how each of them is answered. ctx bounds
// all of that.
func (s *Server) confirm(ctx context.Context, c admission.Caller, reads []*request) func(*request) outcome {
	index, err := s.checker.Index(ctx, c)
	applied := err
	if err == nil && slices.ContainsFunc(reads, func(r *request) bool { return r.Method.Index == nil }) {
		if applied = s.checker.CheckQuarantine(); applied == nil {
			applied = s.checker.State.WaitApplied(ctx, index)
		}
	}
	return func(r *request) outcome {
		switch {
		case r.Method.Index != nil && err != nil:
			return outcome{err: err}
		case r.Method.Index != nil:
			return outcome{message: r.Method.Index(index)}
		}
		return s.confirmed(ctx, r, applied)
	}
}

// confirmed answers a linearizable read, for which this agent has applied enough unless
// failed says why not.
func (s *Server) confirmed(ctx context.Context, r *request, failed error) outcome {
	if failed == nil {
		failed = s.checker.CheckReached(r.Read.Min)
	}
	if failed == nil && r.Method.Leads {
		if o := s.askLeader(ctx, r); o.body != nil {
			return o
		}
	}
	return s.look(ctx, r, failed)
}

// askLeader forwards a read, or an action, to the leader. The outcome has no body if this agent
// leads, or the leader could not be reached.
func (s *Server) askLeader(ctx context.Context, r *request) outcome {
	if r.Caller.Door == admission.Peer || s.checker.Leadership.Current().Leader {
		return outcome{}
	}
	return s.call(ctx, &request{Call: method.ToLeader(r.Method, r.Caller, r.Message, s.config.Clock.Now().Add(s.checker.ReadWait))})
}

// look reads the table in its current state, when it is the caller's turn, or fails with
// err if it is not nil.
func (s *Server) look(ctx context.Context, r *request, err error) (o outcome) {
	if err == nil && !r.Quick() {
		if err = s.long.take(ctx, r.Caller.Share()); err == nil {
			began := s.config.Clock.Now()
			defer func() { s.giveTurn(s.config.Clock.Now().Sub(began)) }()
			runtime.Gosched() // else reads that follow each other would keep a processor for long
		}
	}
	if err != nil {
		return outcome{err: err}
	}
	defer s.checker.Guard(r.Method.Procedure, &o.err)
	o.message, o.err = r.Method.Look(r.Message, s.checker.State)
	return o.encoded(r.encoding) // which takes as long, and so is done in the turn too
}

// giveTurn ends the turn of a read that took so long. A drain waits for all reads, and not
// for pauses.
func (s *Server) giveTurn(took time.Duration) {
	if s.calls.Draining() {
		took = 0
	}
	s.long.give(took)
}

// LeaderIndex requests from the leader the log index that a linearizable read has to
// wait for.
func (s *Server) LeaderIndex(ctx context.Context, c admission.Caller) (uint64, error) {
	m := s.methods.ReadIndex
	o := s.call(ctx, &request{Call: method.ToLeader(m, c, &interrexv1.ReadIndexRequest{}, s.config.Clock.Now().Add(s.checker.ReadWait))})
	if o.err == nil && o.message == nil {
		o.message, o.err = m.DecodeAnswer(o.body)
	}
	if interrex.KindOf(o.err) == interrex.ErrOutcomeUnknown { // a read has no unknown outcome
		err := wire.FromDetail(wire.Detail(o.err))
		err.Kind = interrex.ErrUnavailable
		o.err = err
	}
	index, _ := o.message.(*interrexv1.ReadIndexResponse)
	return index.GetLogIndex(), o.err
}
