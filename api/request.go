package api

import (
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/state"
	"github.com/interrex/interrex/wire"
)

// request is one call of a method on its way to its answer.
type request struct {
	method   *Method
	caller   caller
	envelope *interrexv1.Operation
	message  proto.Message // the method's own request
	began    time.Time     // when it arrived

	read    readOptions // of a read
	*errand             // of what only the leader can do

	mu      sync.Mutex
	gone    bool
	hopped  bool   // the newest attempt went to another agent
	attempt int    // the newest one
	abandon func() // withdraws it from where it is; nil: there is nothing to do
}

// errand is the part of a request that only the leader can do.
type errand struct {
	fence  interrex.Fence
	parts  []part        // its commands: one, or those of a group
	only   [1]part       // the memory of one
	result state.Result  // from the log here
	enter  time.Time     // the deadline for entering the log
	wait   *queue.Wait   // nil: it does not wait for its key
	stop   chan struct{} // closed when its caller has gone; nil: not used yet

	sent    time.Time // the newest attempt
	retries *retries  // nil: none was needed yet
}

// open prepares a call; e is nil if it did not come on a stream. The error is
// of KindInvalid, KindTooLarge, KindDenied or KindDisabled and names the field.
func (s *Server) open(c caller, m *Method, e *interrexv1.Operation, message proto.Message, now time.Time) (*request, error) {
	r := &request{method: m, caller: c.onBehalf(e.GetCaller()), envelope: e, message: message, began: now}
	if err := s.served(m.setting, c); err != nil {
		return nil, err
	}
	if !m.Writes() {
		if r.envelope == nil {
			r.envelope = &interrexv1.Operation{}
		}
		var err error
		if r.read, err = readOptionsOf(m, message); err == nil {
			err = r.fits()
		}
		r.read.eventual = r.read.eventual || m.act != nil // nobody else's read waits for it
		return r, err
	}
	r.errand = &errand{}
	return r, r.write(s, now)
}

// bounded returns KindTooLarge for a method's request that no hop could carry.
func bounded(field string, bytes int) error {
	if bytes > wire.MaxBody {
		return interrex.Errorf(interrex.KindTooLarge, "%s: %d bytes are more than %d", field, bytes, wire.MaxBody)
	}
	return nil
}

// fits checks that the method accepts what the envelope carries.
func (r *request) fits() error {
	e, name := r.envelope, r.method.Name()
	switch {
	case r.method.Class != interrexv1.Class_CLASS_RECORDED && (e.GetRequestId() != "" || e.GetMark() != 0):
		return interrex.Errorf(interrex.KindInvalid, "request_id: %s takes none", name)
	case !r.method.Writes() && e.GetFence() != nil:
		return interrex.Errorf(interrex.KindInvalid, "fence: %s changes nothing, and takes none", name)
	case !r.method.Writes() && e.GetWaitMs() != 0:
		return interrex.Errorf(interrex.KindInvalid, "wait: %s does not wait", name)
	}
	return nil
}

// write makes the operation of a method that writes.
func (r *request) write(s *Server, now time.Time) error {
	err := r.see(s)
	if err == nil && r.envelope == nil {
		r.envelope, err = lift(r.message)
	}
	if err == nil {
		err = r.fits()
	}
	if err == nil {
		err = r.address()
	}
	if err == nil {
		err = r.admit()
	}
	if err != nil {
		return err
	}
	r.enter = now.Add(enterTimeout(r.lane(), r.envelope))
	if err := r.waitFor(s.config.State.Waitable(), now); err != nil {
		return err
	}
	if r.waits() {
		return r.keep()
	}
	return nil
}

// address checks and reads what the envelope carries.
func (r *request) address() error {
	e := r.envelope
	if err := interrex.ValidateRequestID(e.GetRequestId()); err != nil {
		return err
	}
	var in wire.Reader
	r.fence = in.Fence(e.GetFence())
	if in.Err == nil && r.parts[0].table == state.SystemTable && e.GetFence() != nil {
		return interrex.Errorf(interrex.KindInvalid, "fence: %s takes none", r.method.Name())
	}
	return in.Err
}

// addressed is the operation without its commands: see load.
func (r *request) addressed() state.Operation {
	e := r.envelope
	return state.Operation{Caller: r.caller.name, RequestID: e.GetRequestId(), Attempt: e.GetAttempt(), Mark: e.GetMark(), Fence: r.fence}
}

// enterTimeout is how long an operation may wait to enter the log.
func enterTimeout(l state.Lane, e *interrexv1.Operation) time.Duration {
	timeout := queue.EnqueueTimeout
	if l == state.LaneExtend {
		timeout = queue.ExtendTimeout
	}
	if e.GetTimeoutMs() == 0 {
		return timeout
	}
	return min(timeout, millis(e.GetTimeoutMs()))
}

// waitFor makes the operation wait for its key, if the envelope asks for it.
func (r *request) waitFor(table state.Waitable, now time.Time) error {
	if r.envelope.GetWaitMs() == 0 {
		return nil
	}
	var every time.Duration
	wants := false
	if table != nil && !r.method.group {
		every, wants = table.Wants(r.parts[0].command)
	}
	if !wants {
		return interrex.Errorf(interrex.KindInvalid, "wait: %s does not wait", r.method.Name())
	}
	wait := millis(r.envelope.GetWaitMs())
	if err := interrex.ValidateWait(wait); err != nil {
		return err
	}
	r.wait = &queue.Wait{Until: now.Add(wait)}
	if r.envelope.GetAsksAgain() {
		r.wait.Every = every
	}
	return nil
}

// keep returns a request that may wait for long its own memory: one that came on
// a stream shares that of its whole message.
func (r *request) keep() error {
	if n := proto.Size(r.message); n > MaxWaitBody {
		return interrex.Errorf(interrex.KindTooLarge, "wait: a request of %d bytes does not wait, %d are allowed", n, MaxWaitBody)
	}
	r.caller.name = strings.Clone(r.caller.name)
	r.envelope = proto.CloneOf(r.envelope)
	r.envelope.RequestId, r.envelope.Caller = strings.Clone(r.envelope.RequestId), r.caller.name
	return nil
}

// waits reports whether the request may wait for its key.
func (r *request) waits() bool { return r.errand != nil && r.wait != nil }

// last is the last moment at which the request may be sent to a leader.
func (r *request) last() time.Time {
	if r.waits() && r.wait.Until.After(r.enter) {
		return r.wait.Until
	}
	return r.enter
}

// operation makes the queue's operation. Each is used once, so every attempt
// makes its own.
func (r *request) operation(now time.Time, done func(state.Result)) *queue.Operation {
	op := &queue.Operation{
		Operation: r.addressed(), Lane: r.lane(),
		Deadline: r.enter, Stop: r.stopped(), Done: done, Wait: r.wait,
	}
	r.load(op)
	if r.waits() && !r.enter.After(now) { // sent again after it has stood in line elsewhere
		op.Deadline = now.Add(queue.EnqueueTimeout)
	}
	return op
}

// hop makes the operation to send to the leader: the same body, with the
// caller's name and the times that are left.
func (r *request) hop(now time.Time) (*interrexv1.Operation, error) {
	body, err := r.body()
	if err != nil {
		return nil, err
	}
	left := r.enter.Sub(now)
	if r.waits() && left <= 0 {
		left = queue.EnqueueTimeout
	}
	e := r.envelope
	out := &interrexv1.Operation{
		Method: r.method.Number, Body: body, RequestId: e.GetRequestId(), Attempt: e.GetAttempt(), Mark: e.GetMark(),
		Fence: e.GetFence(), TimeoutMs: wire.Millis(left), AsksAgain: e.GetAsksAgain(), Caller: r.caller.name,
	}
	if r.waits() {
		out.WaitMs = wire.Millis(r.wait.Until.Sub(now))
	}
	return out, nil
}

// body returns the method's own request as bytes: those received, if it came on
// a stream.
func (r *request) body() ([]byte, error) {
	if r.envelope.Body == nil {
		sink(r.message)
		body, err := proto.Marshal(r.message)
		if err != nil {
			return nil, interrex.Errorf(interrex.KindInvalid, "request: %v", err)
		}
		r.envelope.Body = body
	}
	return r.envelope.Body, nil
}

// cancel notes that the caller has gone.
func (r *request) cancel() {
	r.mu.Lock()
	if r.gone {
		r.mu.Unlock()
		return
	}
	r.gone = true
	if r.errand != nil && r.stop != nil {
		close(r.stop)
	}
	abandon := r.abandon
	r.mu.Unlock()
	if abandon != nil {
		abandon()
	}
}

// stopped returns a channel that is closed when the caller has gone.
func (r *request) stopped() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stop == nil {
		r.stop = make(chan struct{})
		if r.gone {
			close(r.stop)
		}
	}
	return r.stop
}

// another counts an attempt.
func (r *request) another() (attempt int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.attempt++
	return r.attempt
}

// onCancel sets how to withdraw an attempt. It ignores one that has failed
// already and was followed by another.
func (r *request) onCancel(attempt int, abandon func()) {
	r.mu.Lock()
	if attempt != r.attempt {
		r.mu.Unlock()
		return
	}
	r.abandon = abandon
	gone := r.gone
	r.mu.Unlock()
	if gone && abandon != nil {
		abandon()
	}
}

func (r *request) isGone() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.gone
}

func millis(ms uint32) time.Duration { return time.Duration(ms) * time.Millisecond }

// The fields of a unary request that are the envelope's on a stream.
type (
	identified interface {
		GetRequestId() string
		GetAttempt() uint32
	}
	waiting interface{ GetWait() *durationpb.Duration }
	fenced  interface{ GetFence() *interrexv1.Fence }
)

var lifted = []protoreflect.Name{"request_id", "attempt", "wait", "fence"}

// lift makes the envelope from a unary request's fields. Its message keeps the
// fields until it is sent on: see sink.
func lift(m proto.Message) (*interrexv1.Operation, error) {
	e := &interrexv1.Operation{}
	if q, is := m.(identified); is {
		e.RequestId, e.Attempt = q.GetRequestId(), q.GetAttempt()
	}
	if q, is := m.(fenced); is {
		e.Fence = q.GetFence()
	}
	if q, is := m.(waiting); is && q.GetWait() != nil {
		var in wire.Reader
		wait := in.Duration("wait", q.GetWait())
		in.Fail(interrex.ValidateWait(wait))
		if in.Err != nil {
			return nil, in.Err
		}
		if wait > 0 {
			e.WaitMs = wire.Millis(wait)
		}
	}
	return e, nil
}

// sink removes from a message what its envelope has.
func sink(m proto.Message) {
	r := m.ProtoReflect()
	for _, name := range lifted {
		if f := r.Descriptor().Fields().ByName(name); f != nil {
			r.Clear(f)
		}
	}
}

// unlifted refuses a message of a stream that sets fields of its envelope.
func unlifted(m proto.Message) error {
	if field := liftedIn(m); field != "" {
		return interrex.Errorf(interrex.KindInvalid, "%s: on a stream it stands in the operation, not in its body", field)
	}
	return nil
}

// liftedIn returns a field of the envelope that a message sets; "": none.
func liftedIn(m proto.Message) (field string) {
	if q, is := m.(identified); is && (q.GetRequestId() != "" || q.GetAttempt() != 0) {
		field = "request_id"
	}
	if q, is := m.(waiting); is && q.GetWait() != nil {
		field = "wait"
	}
	if q, is := m.(fenced); is && q.GetFence() != nil {
		field = "fence"
	}
	return field
}
