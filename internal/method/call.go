package method

import (
	"iter"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/validation"
	"github.com/interrex/interrex/internal/wire"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/state"
)

// maxWaitBody is the largest request, in bytes, of a waiting claim, which stays in
// memory for as long as it waits.
const maxWaitBody = 32 << 10

// Call is one call of a method: its request, the operation made from it, and its
// result.
type Call struct {
	Method   *Method
	Caller   admission.Caller
	Envelope *interrexv1.Operation
	Message  proto.Message // the method's own request
	Began    time.Time     // when it arrived

	Read   readOptions // of a read
	*write             // of what only the leader can handle
}

// write is the part of a call that only the leader can do.
type write struct {
	Fence  interrex.Fence
	parts  []part       // the commands: one, or those of a group
	only   [1]part      // the backing array for a single one
	Result state.Result // from the log here
	Enter  time.Time    // the deadline for entering the log
	Wait   *queue.Wait  // nil if it does not wait for its key
}

// Open prepares a call; e is nil if it did not arrive on a stream. The error is of
// ErrInvalid, ErrTooLarge, ErrDenied or ErrDisabled and names the field.
func (r *Call) Open(in *Registry, c admission.Caller, m *Method, e *interrexv1.Operation, message proto.Message, now time.Time) error {
	r.Method, r.Caller, r.Envelope, r.Message, r.Began = m, c.OnBehalf(e.GetCaller(), e.GetOrigin(), e.GetShare()), e, message, now
	if r.Caller.Origin == "" && c.Door != admission.Peer {
		r.Caller.Origin = in.origin
	}
	if err := in.Served(m.setting, c); err != nil {
		return err
	}
	if m.Writes() {
		r.write = &write{}
		return r.prepare(in, now)
	}
	if r.Envelope == nil {
		r.Envelope = &interrexv1.Operation{}
	}
	var err error
	if r.Read, err = readOptionsOf(m, message); err == nil {
		err = r.fits()
	}
	if err == nil {
		err = in.judge(r.Caller, m.Method, m.use, message, nil)
	}
	r.Read.Eventual = r.Read.Eventual || m.Act != nil // Act itself waits, so that no other read waits for it
	return err
}

// ToLeader returns a read that the leader has to answer by a deadline.
func ToLeader(m *Method, c admission.Caller, message proto.Message, until time.Time) Call {
	return Call{Method: m, Caller: c, Envelope: &interrexv1.Operation{}, Message: message, write: &write{Enter: until}}
}

// fits checks that the method accepts what the envelope carries.
func (r *Call) fits() error {
	e, name := r.Envelope, r.Method.Name()
	switch {
	case r.Method.Class != interrexv1.Class_CLASS_RECORDED && (e.GetRequestId() != "" || e.GetMark() != 0 || e.GetKnownRevision() != 0):
		return interrex.Errorf(interrex.ErrInvalid, "request_id: not allowed for %s", name)
	case !r.Method.Writes() && e.GetFence() != nil:
		return interrex.Errorf(interrex.ErrInvalid, "fence: not allowed, because %s changes nothing", name)
	case !r.Method.Writes() && e.GetWaitMs() != 0:
		return interrex.Errorf(interrex.ErrInvalid, "wait: %s does not wait", name)
	}
	return nil
}

// prepare sets the commands and deadlines of a method that writes.
func (r *Call) prepare(in *Registry, now time.Time) error {
	err := r.see(in)
	if err == nil && r.Envelope == nil {
		if r.Envelope, err = lift(r.Message); err == nil && r.Envelope.GetRequestId() != "" {
			r.Envelope.KnownRevision = uint64(r.Caller.Known)
		}
	}
	if err == nil {
		err = r.fits()
	}
	if err == nil {
		err = r.address()
	}
	if err == nil {
		err = r.admit(in)
	}
	if err != nil {
		return err
	}
	r.Enter = now.Add(enterTimeout(r.extends(), r.Envelope))
	if err := r.waitFor(in.state.Waitable(), now); err != nil {
		return err
	}
	if r.Waits() {
		return r.keep()
	}
	return nil
}

// address checks and decodes the envelope.
func (r *Call) address() error {
	e := r.Envelope
	if err := validation.RequestID(e.GetRequestId()); err != nil {
		return err
	}
	var in wire.Reader
	r.Fence = in.Fence(e.GetFence())
	if in.Err == nil && r.parts[0].table == machine.SystemTable && e.GetFence() != nil {
		return interrex.Errorf(interrex.ErrInvalid, "fence: not allowed for %s", r.Method.Name())
	}
	return in.Err
}

// Addressed returns the operation without its commands, which Load adds.
func (r *Call) Addressed() state.Operation {
	e := r.Envelope
	return state.Operation{
		Caller: r.Caller.Name, Origin: r.origin(), RequestID: e.GetRequestId(), Attempt: e.GetAttempt(),
		Mark: e.GetMark(), Since: interrex.Revision(e.GetKnownRevision()), Fence: r.Fence,
	}
}

// OfThePast are requests that may be of an earlier revision or time.
type OfThePast interface {
	GetAtRevision() uint64
	GetAtTime() *timestamppb.Timestamp
}

// IsPast reports whether a request is of an earlier revision or time.
func IsPast(m OfThePast) bool { return m.GetAtRevision() != 0 || m.GetAtTime() != nil }

// Quick reports whether the method is marked by AtOnce, and the request not of the past:
// then it takes as long as a list does.
func (r *Call) Quick() bool {
	m, may := r.Message.(OfThePast)
	return r.Method.Quick && !(may && IsPast(m))
}

// origin returns the caller's address if the operation may make a name or a record that
// counts in its share: a numbered one counts in that of its name's opener.
func (r *Call) origin() string {
	_, _, numbered := limits.SplitRequestID(r.Envelope.GetRequestId())
	numbered = numbered && r.Envelope.GetMark() > 0
	if r.Caller.Name != "" || numbered || r.Envelope.GetRequestId() == "" && (len(r.parts) == 0 || r.parts[0].table != machine.SystemTable) {
		return ""
	}
	return r.Caller.Origin
}

// Over returns the result of a request that can no longer change anything, as far as
// this agent knows: see machine.State.Over.
func (r *Call) Over(s *machine.State) (res state.Result, over bool) {
	if !r.Method.Writes() {
		return res, false
	}
	op := r.Addressed()
	if r.Method.group {
		return s.Over(&op, nil)
	}
	op.Table = r.parts[0].table
	return s.Over(&op, r.parts[0].command)
}

// waitFor makes the operation wait for its key, if the envelope requests it.
func (r *Call) waitFor(table state.Waitable, now time.Time) error {
	if r.Envelope.GetWaitMs() == 0 {
		return nil
	}
	var every time.Duration
	wants := false
	if table != nil && !r.Method.group {
		every, wants = table.Wants(r.parts[0].command)
	}
	if !wants {
		return interrex.Errorf(interrex.ErrInvalid, "wait: %s does not wait", r.Method.Name())
	}
	wait := millis(r.Envelope.GetWaitMs())
	if err := validation.Wait(wait); err != nil {
		return err
	}
	r.Wait = &queue.Wait{Until: now.Add(wait)}
	if r.Envelope.GetAsksAgain() {
		r.Wait.Every = every
	}
	return nil
}

// keep copies a request that may wait for long: one that arrived on a stream shares
// the memory of its whole message.
func (r *Call) keep() error {
	if n := proto.Size(r.Message); n > maxWaitBody {
		return interrex.Errorf(interrex.ErrTooLarge, "wait: a request of %d bytes does not wait, %d are allowed", n, maxWaitBody)
	}
	r.Caller = r.Caller.Clone()
	r.Envelope = proto.CloneOf(r.Envelope)
	r.Envelope.RequestId, r.Envelope.Caller, r.Envelope.Origin = strings.Clone(r.Envelope.RequestId), r.Caller.Name, r.Caller.Origin
	r.Envelope.Share = "" // the caller has it
	return nil
}

// Waits reports whether the request may wait for its key.
func (r *Call) Waits() bool { return r.write != nil && r.Wait != nil }

// Last returns the last moment at which the request may be sent to a leader.
func (r *Call) Last() time.Time {
	if r.Waits() && r.Wait.Until.After(r.Enter) {
		return r.Wait.Until
	}
	return r.Enter
}

// Operation returns a new operation for the queue. Each is used once, so every
// attempt needs its own.
func (r *Call) Operation(now time.Time, stop <-chan struct{}, done func(state.Result)) *queue.Operation {
	op := &queue.Operation{
		Operation: r.Addressed(), Extend: r.extends(), Via: r.Caller.Via, Share: r.Caller.Share(),
		Deadline: r.Enter, Stop: stop, Done: done, Wait: r.Wait,
	}
	r.Load(op)
	if r.Waits() && !r.Enter.After(now) { // sent again after it was queued elsewhere
		op.Deadline = now.Add(queue.Timeout(false))
	}
	return op
}

// Hop returns the operation to send to the leader: the same body, with the caller's
// name and the remaining times.
func (r *Call) Hop(now time.Time) (*interrexv1.Operation, error) {
	body, err := r.body()
	if err != nil {
		return nil, err
	}
	left := r.Enter.Sub(now)
	if r.Waits() && left <= 0 {
		left = queue.Timeout(false)
	}
	e := r.Envelope
	out := &interrexv1.Operation{
		Method: r.Method.Number, Body: body, RequestId: e.GetRequestId(), Attempt: e.GetAttempt(), Mark: e.GetMark(),
		Fence: e.GetFence(), TimeoutMs: wire.Millis(left), AsksAgain: e.GetAsksAgain(), Caller: r.Caller.Name,
		Origin: r.origin(), KnownRevision: e.GetKnownRevision(),
	}
	if r.Caller.Name == "" {
		out.Share = r.Caller.Share()
	}
	if r.Waits() {
		out.WaitMs = wire.Millis(r.Wait.Until.Sub(now))
	}
	return out, nil
}

// body returns the method's own request as bytes: those received, if it arrived on a
// stream.
func (r *Call) body() ([]byte, error) {
	if r.Envelope.Body == nil {
		sink(r.Message)
		body, err := proto.Marshal(r.Message)
		if err != nil {
			return nil, interrex.Errorf(interrex.ErrInvalid, "request: %v", err)
		}
		r.Envelope.Body = body
	}
	return r.Envelope.Body, nil
}

// see makes the commands of the request. Only here does the API look into what is
// written.
func (r *Call) see(in *Registry) error {
	group, is := r.Message.(*interrexv1.GroupRequest)
	if !is {
		r.only[0] = part{method: r.Method, message: r.Message}
		r.parts = r.only[:]
		return r.parts[0].see(in)
	}
	n := len(group.GetOperations())
	if n == 0 || n > limits.MaxGroup {
		return interrex.Errorf(interrex.ErrInvalid, "operations: 1 to %d are allowed, not %d", limits.MaxGroup, n)
	}
	r.parts = make([]part, n)
	for i, m := range group.GetOperations() {
		if err := r.parts[i].unpack(in, r.Caller, m); err != nil {
			return validation.InGroup(i, err)
		}
	}
	return nil
}

// admit refuses commands that are not valid, or not allowed to the caller.
func (r *Call) admit(in *Registry) error {
	if k := r.Fence.Key; k != (interrex.Key{}) {
		if err := in.judgeNamed(r.Caller, r.Method.Method, "lease", k.String()); err != nil {
			return err
		}
	}
	for i := range r.parts {
		p := &r.parts[i]
		err := p.command.Validate()
		if err == nil {
			err = in.judge(r.Caller, p.method.Method, p.method.use, p.message, p.command)
		}
		if owned, is := p.command.(owned); is && err == nil {
			err = owned.Owners(func(table, key string) error { return in.judgeNamed(r.Caller, p.method.Method, table, key) })
		}
		if err != nil {
			return r.of(i, err)
		}
	}
	return nil
}

// owned is a command whose object will live as long as others.
type owned interface {
	// Owners calls named for each of them, with its table and key, until that fails.
	Owners(named func(table, key string) error) error
}

// Holder returns the holder in whose name the request acts; "": none, or it is a group.
func (r *Call) Holder() string {
	if r.Method.group {
		return ""
	}
	return r.parts[0].command.About().Holder
}

// of returns the error of one of the request's commands, which names it in a group.
func (r *Call) of(i int, err error) error {
	if r.Method.group {
		return validation.InGroup(i, err)
	}
	return err
}

// extends reports whether the operation is an extend, which passes others on its way to
// the log.
func (r *Call) extends() bool {
	return !r.Method.group && r.parts[0].command.About().Extend
}

// Urgent reports whether the request extends what would else end.
func (r *Call) Urgent() bool {
	return r.write != nil && len(r.parts) > 0 && r.extends()
}

// Kind returns what the call counts as while it is in flight.
func (r *Call) Kind() admission.Kind {
	blocking, is := r.Message.(interface{ GetBlock() *durationpb.Duration })
	switch {
	case r.Urgent():
		return admission.Extend
	case r.Waits(), is && blocking.GetBlock().AsDuration() > 0:
		return admission.Lasting
	}
	return admission.Brief
}

// Load adds the commands to the queue's operation.
func (r *Call) Load(op *queue.Operation) {
	if !r.Method.group {
		p := &r.parts[0]
		op.Table, op.Command, op.Data, op.Minted = p.table, p.command, p.command.Append(nil), p.minted
		return
	}
	op.Group, op.Commands = make([]state.Part, len(r.parts)), make([]state.Command, len(r.parts))
	for i := range r.parts {
		p := &r.parts[i]
		op.Group[i] = state.Part{Table: p.table, Data: p.command.Append(nil), Minted: p.minted}
		op.Commands[i] = p.command
	}
}

// Mint generates, once, what the commands need from outside the log.
func (r *Call) Mint() error {
	for i := range r.parts {
		if err := r.parts[i].mint(); err != nil {
			return r.of(i, err)
		}
	}
	return nil
}

// Answer returns the response that is made from the result.
func (r *Call) Answer(s *machine.State) (proto.Message, error) {
	if !r.Method.group {
		return r.Method.Answer(r.parts[0].message, r.Result, s)
	}
	replies, is := r.Result.Reply.(machine.GroupReply)
	if !is || len(replies) != len(r.parts) {
		return nil, interrex.Errorf(interrex.ErrOutcomeUnknown, "cannot read the reply: it is a %T", r.Result.Reply)
	}
	out := &interrexv1.GroupResponse{Replayed: r.Result.Replayed, Revision: uint64(r.Result.Revision)}
	for i, reply := range replies {
		one := r.Result
		one.Reply, one.Revision = reply.Reply, reply.Revision
		m, err := r.parts[i].method.Answer(r.parts[i].message, one, s)
		if err != nil {
			return nil, validation.InGroup(i, err)
		}
		packed, err := anypb.New(m)
		if err != nil {
			return nil, interrex.Errorf(interrex.ErrOutcomeUnknown, "cannot answer operation %d: %v", i+1, err)
		}
		out.Answers = append(out.Answers, packed)
	}
	return out, nil
}

// Bounded returns ErrTooLarge for a request that is too large to be forwarded.
func Bounded(field string, bytes int) error {
	if bytes > wire.MaxBody {
		return interrex.Errorf(interrex.ErrTooLarge, "%s: %d bytes are more than %d", field, bytes, wire.MaxBody)
	}
	return nil
}

// enterTimeout returns how long an operation may wait to enter the log.
func enterTimeout(extend bool, e *interrexv1.Operation) time.Duration {
	timeout := queue.Timeout(extend)
	if e.GetTimeoutMs() == 0 {
		return timeout
	}
	return min(timeout, millis(e.GetTimeoutMs()))
}

func millis(ms uint32) time.Duration { return time.Duration(ms) * time.Millisecond }

// Commands returns the commands of a call, each with its table, in order.
func (r *Call) Commands() iter.Seq2[state.TableID, state.Command] {
	return func(yield func(state.TableID, state.Command) bool) {
		for i := range r.parts {
			if !yield(r.parts[i].table, r.parts[i].command) {
				return
			}
		}
	}
}

// Announced is one operation of a call for which webhooks may be called.
type Announced struct {
	state.Announcement
	Procedure string
	message   proto.Message
}

// Announces returns the operations of a call, in order; all of them happen, or none.
func (r *Call) Announces() (all []Announced) {
	for i := range r.parts {
		p := &r.parts[i]
		if a, is := p.command.(state.Announcer); is {
			all = append(all, Announced{a.Announce(), p.method.Procedure, p.message})
		}
	}
	return all
}

// JSON returns the request without the fields of its envelope.
func (a Announced) JSON() ([]byte, error) {
	m := proto.Clone(a.message)
	sink(m)
	return wire.AppendJSON(nil, m)
}
