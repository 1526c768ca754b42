package api

import (
	"context"
	"net/http"
	"slices"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/state"
	"github.com/interrex/interrex/wire"
)

// Service has the methods of one service, each of which is served on its own
// (gRPC, Connect, JSON) and on streams. Together they are all methods of the
// service that carry the option interrex.v1.method.
type Service struct {
	// Methods are the unary methods; see Write and Read.
	Methods []Method
	// Watches are the methods that stream events; see Watch.
	Watches []WatchMethod
	// Setting is what switches the service, for example "features.leases"; see
	// Config.Switches. Empty: it is always on. Where it is off, requests that other
	// agents forward are served all the same: the service is on there.
	Setting string
	// Table is the table of a service without methods; of every other one the
	// methods' numbers name it.
	Table state.TableID
	// Data makes the JSON document of an event of the service's table, as the
	// change feed and webhooks show it. nil: they show null.
	Data func(*state.Event, *state.State) ([]byte, error)
}

// Method is how the server handles a unary method: what it makes of the
// request, and how it answers. Write and Read make one.
type Method struct {
	wire.Method
	err     error  // why it cannot be served
	setting string // see Service.Setting

	latency *latency
	table   state.TableID // of a write
	group   bool          // its request has the requests of others: see request.see
	takes   protoreflect.FullName
	decode  func(body []byte) (proto.Message, error)
	command func(proto.Message, *state.State) (state.TableID, state.Command, error) // of a write
	answer  func(*part, state.Result, *state.State) (proto.Message, error)          // of a write
	read    func(proto.Message, *state.State) (proto.Message, error)                // of a read
	index   func(logIndex uint64) proto.Message                                     // of the read of a log index
	act     func(context.Context, *Server, *request) (proto.Message, error)         // of what does something here; see act
	// eventual is how fresh a read is that does not say.
	eventual bool
	// quick is a read of one row: see atOnce.
	quick bool
	// leads is a read whose answer has what only the agent that leads knows: see
	// askLeader.
	leads bool
	// await is a read that may wait, in place of read: until ctx ends, which it
	// does when the server drains.
	await func(ctx context.Context, q proto.Message, s *state.State) (proto.Message, error)
	face  func(*Server, *Method) http.Handler
}

// Write returns a method that proposes a command to a table. procedure is its
// name in generated code: /interrex.v1.LeaseService/Claim.
//
// command makes the command of a request; its error is of KindInvalid and names
// the field. The command is validated by its own Validate. The server handles
// the fields called request_id, attempt, wait and fence: see
// interrex.v1.Operation. answer makes the answer from the log's result, which
// is never an error.
func Write[Q, A any, PQ wire.Message[Q], PA wire.Message[A]](procedure string, table state.TableID, command func(PQ) (state.Command, error), answer func(state.Result, *state.State) (PA, error)) Method {
	m := newMethod[Q, A, PQ, PA](procedure)
	m.table = table
	m.command = func(q proto.Message, _ *state.State) (state.TableID, state.Command, error) {
		c, err := command(q.(PQ))
		return table, c, err
	}
	m.answer = func(_ *part, r state.Result, s *state.State) (proto.Message, error) { return answer(r, s) }
	if m.err == nil && !m.Writes() {
		m.err = interrex.Errorf(interrex.KindInvalid, "method %s: its .proto does not say that it writes", procedure)
	}
	return m
}

// Read returns a method that reads. look runs once this agent may answer: for a
// linearizable read, which is the default, when it has applied everything
// committed before the read arrived. A request with the fields consistency and
// min_revision may ask for less.
func Read[Q, A any, PQ wire.Message[Q], PA wire.Message[A]](procedure string, look func(PQ, *state.State) (PA, error)) Method {
	m := newMethod[Q, A, PQ, PA](procedure)
	m.read = func(q proto.Message, s *state.State) (proto.Message, error) { return look(q.(PQ), s) }
	if m.err == nil && m.Class != interrexv1.Class_CLASS_READ {
		m.err = interrex.Errorf(interrex.KindInvalid, "method %s: its .proto does not say that it reads", procedure)
	}
	return m
}

// ReadEventually is Read, but a request that does not say how fresh the answer
// must be gets what this agent has.
func ReadEventually[Q, A any, PQ wire.Message[Q], PA wire.Message[A]](procedure string, look func(PQ, *state.State) (PA, error)) Method {
	m := Read(procedure, look)
	m.eventual = true
	return m
}

// atOnce makes a read one that looks a single row up: what is asked of this
// agent on a stream is answered where it arrives, before what follows it.
func atOnce(m Method) Method {
	m.quick = true
	return m
}

// atLeader makes a read one that the agent that leads answers, since it knows
// more, unless the request takes what this agent has. Where it cannot be asked,
// this agent answers.
func atLeader(m Method) Method {
	m.leads = true
	return m
}

func newMethod[Q, A any, PQ wire.Message[Q], PA wire.Message[A]](procedure string) Method {
	var m Method
	m.Method, m.err = wire.MethodOf(procedure)
	if m.err == nil {
		m.err = m.Takes(PQ(nil), PA(nil))
	}
	m.takes = PQ(nil).ProtoReflect().Descriptor().FullName()
	m.decode = func(body []byte) (proto.Message, error) {
		q := PQ(new(Q))
		if err := proto.Unmarshal(body, q); err != nil {
			return nil, interrex.Errorf(interrex.KindInvalid, "body: it is not a %s: %v", q.ProtoReflect().Descriptor().Name(), err)
		}
		return q, nil
	}
	m.face = unary[Q, A, PQ, PA]
	return m
}

// unary serves a method outside a stream: gRPC, Connect, and JSON over HTTP.
func unary[Q, A any, PQ wire.Message[Q], PA wire.Message[A]](s *Server, m *Method) http.Handler {
	return connect.NewUnaryHandler(m.Procedure, func(ctx context.Context, r *connect.Request[Q]) (*connect.Response[A], error) {
		ctx, cancel := early(ctx)
		defer cancel()
		o := s.alone(ctx, callerOf(ctx), m, PQ(r.Msg))
		if o.err == nil && o.message == nil {
			o.message, o.err = read[A, PA](o.body)
		}
		if o.err != nil {
			return nil, wire.Error(wire.FromDetail(s.detail(o.err)))
		}
		return connect.NewResponse((*A)(o.message.(PA))), nil
	}, s.options())
}

// read reads the answer that another agent has made.
func read[A any, PA wire.Message[A]](body []byte) (PA, error) {
	a := PA(new(A))
	if err := proto.Unmarshal(body, a); err != nil {
		return nil, interrex.Errorf(interrex.KindOutcomeUnknown, "cannot read the leader's answer: %v", err)
	}
	return a, nil
}

// table is the table that the service is of: the one that its numbers name.
func (s Service) table() state.TableID {
	if len(s.Methods) == 0 {
		return s.Table
	}
	return state.TableID(s.Methods[0].Number >> 8)
}

// method returns a method of interrex's own that is served.
func (s *Server) method(procedure string) *Method {
	for _, m := range s.methods {
		if m.Procedure == procedure {
			return m
		}
	}
	return nil
}

// methods finds the methods of a server by their numbers.
type methods map[uint32]*Method

// ValidateService reports what is wrong with the service of an embedder's
// table: a method that its .proto declares is missing, belongs to another
// table, or has a number outside the table's range.
func ValidateService(table state.TableID, s Service) error {
	declared := map[string]bool{}
	first := uint32(table) << 8
	for _, m := range s.declares() {
		switch {
		case m.err != nil:
			return m.err
		case m.Number&^0xff != first:
			return interrex.Errorf(interrex.KindInvalid, "method %s has the number %d: this table's are %d to %d", m.Procedure, m.Number, first, first|0xff)
		}
		declared[m.Procedure] = true
	}
	for _, m := range s.Methods {
		if m.Writes() && m.table != table {
			return interrex.Errorf(interrex.KindInvalid, "method %s writes to table %d, and is given by table %d", m.Procedure, m.table, table)
		}
	}
	for procedure := range declared {
		all, err := wire.MethodsOf(procedure)
		if err != nil {
			return err
		}
		for _, other := range all {
			if !declared[other.Procedure] {
				return interrex.Errorf(interrex.KindInvalid, "method %s is declared in its .proto, and nothing serves it", other.Procedure)
			}
		}
	}
	return nil
}

// declaration is what unary methods and watches have in common.
type declaration struct {
	wire.Method
	err error
}

func (s Service) declares() (all []declaration) {
	for _, m := range s.Methods {
		all = append(all, declaration{m.Method, m.err})
	}
	for _, m := range s.Watches {
		all = append(all, declaration{m.Method, m.err})
	}
	return all
}

// ValidateServices reports which method of embedders' services conflicts with
// the others.
func ValidateServices(services ...Service) error {
	return new(Server).take(append([]Service{stateService(), Leases{}.Service(), Resources{}.Service(), Webhooks{}.Service()}, services...))
}

// take adds services. The error says which of their methods does not fit.
func (s *Server) take(services []Service) error {
	s.methods, s.watches, s.takers = methods{}, map[uint32]*WatchMethod{}, takers{}
	for _, service := range services {
		for _, m := range service.declares() {
			if m.err != nil {
				return m.err
			}
			if i := slices.IndexFunc(s.procedures, func(other wire.Method) bool { return other.Number == m.Number }); i >= 0 {
				return interrex.Errorf(interrex.KindInvalid, "method %s: its number %d is that of %s", m.Procedure, m.Number, s.procedures[i].Procedure)
			}
			s.procedures = append(s.procedures, m.Method)
		}
		for _, m := range service.Methods {
			m.setting = service.Setting
			s.methods[m.Number] = &m
			s.takers.add(&m)
			if m.index != nil {
				s.readIndex = &m
			}
		}
		for _, m := range service.Watches {
			m.setting = service.Setting
			m.encode = func(e *state.Event) (b []byte, err error) {
				defer s.guard(m.Number, &err)
				return m.event(e, s.config.State)
			}
			s.watches[m.Number] = &m
		}
	}
	return nil
}

// Data makes the JSON document of an event, as webhooks are told it; null where
// its table's service has none.
func (s *Server) Data(e *state.Event) ([]byte, error) {
	return s.documents.data(e, s.config.State)
}
