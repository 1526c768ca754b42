package method

import (
	"context"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/api"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/wire"
	"github.com/interrex/interrex/state"
)

// Method is a unary method that an agent serves: the declaration of its table
// together with that of its .proto.
type Method struct {
	wire.Method
	Declared api.Method
	Err      error  // why it cannot be served
	setting  string // see Service.Setting
	use      purpose

	Latency *Latency
	group   bool // its request contains other requests: see Call.see
	takes   protoreflect.FullName
	Command func(proto.Message, *machine.State) (state.TableID, state.Command, error) // of a write
	Answer  func(proto.Message, state.Result, *machine.State) (proto.Message, error)  // of a write
	Look    func(proto.Message, *machine.State) (proto.Message, error)                // of a read
	Index   func(logIndex uint64) proto.Message                                       // of the read of a log index
	Act     func(context.Context, proto.Message, state.State) (proto.Message, error)  // of an action on this agent that does not change the state
	// eventual makes reads eventual by default.
	eventual bool
	// Quick marks a read of one row: see AtOnce.
	Quick bool
	// Leads marks a read whose answer includes what only the leader knows, and an
	// action that only the leader can take: see AtLeader.
	Leads bool
	// Await is a read that may wait, in place of Look: until ctx ends, which it
	// does when the server drains.
	Await func(ctx context.Context, q proto.Message, s *machine.State) (proto.Message, error)
}

// New returns the method of a declaration and its .proto.
func New(declared api.Method) Method {
	m := Method{Declared: declared}
	m.Method, m.Err = wire.MethodOf(declared.Procedure)
	m.use = purposeOf(m.Method)
	q := declared.NewRequest()
	if m.Err == nil {
		m.Err = m.Takes(q, declared.NewResponse())
	}
	m.takes = q.ProtoReflect().Descriptor().FullName()
	if declared.Command != nil {
		m.Command = func(q proto.Message, _ *machine.State) (state.TableID, state.Command, error) {
			c, err := declared.Command(q)
			return declared.Table, c, err
		}
	}
	if declared.Answer != nil {
		m.Answer = func(q proto.Message, r state.Result, s *machine.State) (proto.Message, error) {
			return declared.Answer(q, r, s)
		}
	}
	if declared.Look != nil {
		m.Look = func(q proto.Message, s *machine.State) (proto.Message, error) { return declared.Look(q, s) }
	}
	switch {
	case m.Err != nil:
	case m.Command != nil && !m.Writes():
		m.Err = interrex.Errorf(interrex.ErrInvalid, "method %s: its .proto does not declare it as a write", m.Procedure)
	case m.Look != nil && m.Class != interrexv1.Class_CLASS_READ:
		m.Err = interrex.Errorf(interrex.ErrInvalid, "method %s: its .proto does not declare it as a read", m.Procedure)
	}
	return m
}

// Write is api.Write for a table of interrex's own.
func Write[Q, A any, PQ wire.Message[Q], PA wire.Message[A]](procedure string, table state.TableID, command func(PQ) (state.Command, error), answer func(state.Result, state.State) (PA, error)) Method {
	return New(api.Write(procedure, table, command, answer))
}

// Read is api.Read for a table of interrex's own.
func Read[Q, A any, PQ wire.Message[Q], PA wire.Message[A]](procedure string, look func(PQ, state.State) (PA, error)) Method {
	return New(api.Read(procedure, look))
}

// ReadState is Read for what no table has, but the state itself.
func ReadState[Q, A any, PQ wire.Message[Q], PA wire.Message[A]](procedure string, look func(PQ, *machine.State) (PA, error)) Method {
	m := special[Q, A, PQ, PA](procedure)
	m.Look = func(q proto.Message, s *machine.State) (proto.Message, error) { return look(q.(PQ), s) }
	return m
}

// special returns a method with these messages that is neither a write to one table
// nor a plain read: the caller sets what it does.
func special[Q, A any, PQ wire.Message[Q], PA wire.Message[A]](procedure string) Method {
	declared := api.Read[Q, A, PQ, PA](procedure, nil)
	declared.Look = nil
	return New(declared)
}

// ReadIndex returns the method that reads the log's index.
func ReadIndex() Method {
	m := special[interrexv1.ReadIndexRequest, interrexv1.ReadIndexResponse](interrexv1.StateServiceReadIndexProcedure)
	m.Index = func(index uint64) proto.Message { return &interrexv1.ReadIndexResponse{LogIndex: index} }
	return m
}

// Group returns the method that applies several operations atomically.
func Group() Method {
	m := special[interrexv1.GroupRequest, interrexv1.GroupResponse](interrexv1.StateServiceGroupProcedure)
	m.group = true
	return m
}

// Propose returns a method whose request names the table of its command.
func Propose[Q, A any, PQ wire.Message[Q], PA wire.Message[A]](procedure string, command func(PQ, *machine.State) (state.TableID, state.Command, error), answer func(PQ, state.Result, *machine.State) (PA, error)) Method {
	m := special[Q, A, PQ, PA](procedure)
	m.Command = func(q proto.Message, s *machine.State) (state.TableID, state.Command, error) {
		return command(q.(PQ), s)
	}
	m.Answer = func(q proto.Message, r state.Result, s *machine.State) (proto.Message, error) {
		return answer(q.(PQ), r, s)
	}
	return m
}

// Echo is Write with an answer that is also made from the request, so that a
// recorded result, which does not have all of it, can be answered again.
func Echo[Q, A any, PQ wire.Message[Q], PA wire.Message[A]](procedure string, table state.TableID, command func(PQ) (state.Command, error), answer func(PQ, state.Result) (PA, error)) Method {
	m := Write(procedure, table, command, func(state.Result, state.State) (PA, error) { return nil, nil })
	m.Answer = func(q proto.Message, r state.Result, _ *machine.State) (proto.Message, error) {
		return answer(q.(PQ), r)
	}
	return m
}

// Act returns a method for operators that does not change the state, and may take
// long. do runs once the agent has applied everything committed before.
func Act[Q, A any, PQ wire.Message[Q], PA wire.Message[A]](procedure, what string, do func(context.Context, PQ, state.State) (PA, error)) Method {
	m := special[Q, A, PQ, PA](procedure)
	m.use.act = what
	m.Act = func(ctx context.Context, q proto.Message, s state.State) (proto.Message, error) {
		return do(ctx, q.(PQ), s)
	}
	return m
}

// Privileged makes a read one for operators; what is what they do.
func Privileged(what string, m Method) Method {
	m.use.act = what
	return m
}

// Await returns an eventual read that may wait until ctx ends, which it does
// when the server drains.
func Await[Q, A any, PQ wire.Message[Q], PA wire.Message[A]](procedure string, wait func(context.Context, PQ, *machine.State) (PA, error)) Method {
	m := Eventually(special[Q, A, PQ, PA](procedure))
	m.Await = func(ctx context.Context, q proto.Message, s *machine.State) (proto.Message, error) {
		return wait(ctx, q.(PQ), s)
	}
	return m
}

// Eventually makes a read eventual unless its request sets the consistency.
func Eventually(m Method) Method {
	m.eventual = true
	return m
}

// AtOnce marks a read that looks up a single row: on a stream, an eventual one is
// answered as it is received, before the operations that follow it. See Call.Quick.
func AtOnce(m Method) Method {
	m.Quick = true
	return m
}

// AtLeader makes the leader answer a read, since it knows more, unless the request
// is for an eventual one; if the leader cannot be reached, this agent answers. It
// makes the leader, and no other agent, take an action.
func AtLeader(m Method) Method {
	m.Leads = true
	return m
}

// Decode decodes a request of the method.
func (m *Method) Decode(body []byte) (proto.Message, error) {
	return decode(body, m.Declared.NewRequest())
}

// DecodeAnswer decodes a response from another agent.
func (m *Method) DecodeAnswer(body []byte) (proto.Message, error) {
	a := m.Declared.NewResponse()
	if err := proto.Unmarshal(body, a); err != nil {
		return nil, interrex.Errorf(interrex.ErrOutcomeUnknown, "cannot read the leader's answer: %v", err)
	}
	return a, nil
}

// decode decodes the body of a request.
func decode(body []byte, q proto.Message) (proto.Message, error) {
	if err := (wire.RequestCodec{}).Unmarshal(body, q); err != nil {
		return nil, err
	}
	return q, nil
}

// Watch is a method that streams events.
type Watch struct {
	wire.Method
	Declared api.WatchMethod
	Err      error  // why it cannot be served
	Setting  string // see Service.Setting
	use      purpose
}

// NewWatch returns the watch of a declaration and its .proto.
func NewWatch(declared api.WatchMethod) Watch {
	m := Watch{Declared: declared}
	m.Method, m.Err = wire.MethodOf(declared.Procedure)
	m.use = purposeOf(m.Method)
	a := declared.NewResponse()
	if m.Err == nil {
		m.Err = m.Takes(declared.NewRequest(), a)
	}
	if m.Err == nil {
		m.Err = m.streams(a, declared.NewEvent())
	}
	return m
}

// EventsField is the number of a response's field that contains the events.
const EventsField = 1

// streams checks the class of the method, and that its response has the field for
// the events.
func (m *Watch) streams(response, event proto.Message) error {
	if m.Class != interrexv1.Class_CLASS_WATCH {
		return interrex.Errorf(interrex.ErrInvalid, "method %s: its .proto does not declare it as a watch", m.Procedure)
	}
	field := response.ProtoReflect().Descriptor().Fields().ByNumber(EventsField)
	want := event.ProtoReflect().Descriptor()
	if field == nil || field.Cardinality() != protoreflect.Repeated || field.Message() == nil || field.Message().FullName() != want.FullName() {
		return interrex.Errorf(interrex.ErrInvalid, "method %s: its response lacks the field 'repeated %s events = %d'", m.Procedure, want.Name(), EventsField)
	}
	return nil
}

// Decode decodes a request of the watch.
func (m *Watch) Decode(body []byte) (proto.Message, error) {
	return decode(body, m.Declared.NewRequest())
}
