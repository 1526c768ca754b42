package apiserver

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"net/http/pprof"
	"slices"
	"strconv"
	"strings"

	"connectrpc.com/connect"
	"connectrpc.com/grpchealth"
	"connectrpc.com/grpcreflect"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/accesstoken"
	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/consistency"
	"github.com/interrex/interrex/internal/copies"
	"github.com/interrex/interrex/internal/hookcaller"
	"github.com/interrex/interrex/internal/method"
	"github.com/interrex/interrex/internal/operations"
	"github.com/interrex/interrex/internal/plainhttp"
	"github.com/interrex/interrex/internal/services"
	"github.com/interrex/interrex/internal/watches"
	"github.com/interrex/interrex/internal/webhook"
	"github.com/interrex/interrex/internal/wire"
	"github.com/interrex/interrex/state"
)

// HeaderTerm has the newest raft term that the agent knows. It is in every answer, as
// wire.HeaderEpoch and wire.HeaderLeader are.
const HeaderTerm = "Interrex-Term"

// Server implements the API of one agent. It does not listen: a listener.Listener,
// or any other HTTP server, serves its handlers.
type Server struct {
	config    Config
	methods   *method.Registry
	documents services.Documents // of the events of all tables
	checker   *consistency.Checker
	calls     *admission.Calls
	operator  *operations.Server
	watches   *watches.Server
	plain     *plainhttp.Server
	copies    *copies.Server
	reports   reporter
	metrics   *metricsPage

	public, socket, peer, inside, forwarded http.Handler
}

// New returns a Server.
func New(c Config) (*Server, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c.setDefaults()
	s := &Server{config: c, calls: admission.NewCalls(c.InFlight), metrics: newMetricsPage(c.Metrics)}
	if err := s.register(); err != nil {
		return nil, fmt.Errorf("cannot serve: %w", err)
	}
	s.checker = consistency.New(consistency.Config{
		ID: c.ID, State: c.State, Ring: c.Ring, Leadership: c.Leadership, Reads: c.Reads, Quarantine: c.Quarantine, Removed: c.Removed,
		AskLeader: s.askLeader, ReadWait: c.ReadWait, Logger: c.Logger,
	})
	s.operator = operations.New(operations.Config{
		Queue: c.Queue, Visitors: c.Visitors, NextLeadership: c.NextLeadership, Forward: c.Forward,
		Vet: c.Vet, Hooks: c.Webhooks.Table.Hooks, Ask: s.ask, Clock: c.Clock,
		LeaderWait: c.LeaderWait, AnswerWait: c.AnswerWait, SendWait: c.SendWait, MaxOpen: c.MaxOpen,
	}, s.checker, s.methods, s.calls)
	s.watches = watches.New(s.checker, s.methods, s.calls, c.Clock, c.SendWait)
	s.plain = plainhttp.New(s.operator, s.checker, s.methods, s.calls, c.Clock, c.SendWait)
	s.copies = copies.New(s.checker, s.calls, c.Audit, c.Clock, c.SendWait)
	s.reports.engine = c.Engine
	s.public = s.edge(admission.Public, s.routes(http.NewServeMux()))
	s.socket = s.edge(admission.Socket, s.routes(profiles()))
	s.inside = s.edge(admission.Inside, s.routes(http.NewServeMux()))
	s.peer = s.edge(admission.Peer, s.peerRoutes())
	s.forwarded = s.edge(admission.Forwarded, s.routes(http.NewServeMux()))
	return s, nil
}

// register collects the methods of all services.
func (s *Server) register() (err error) {
	c := &s.config
	all := append([]method.Service{services.State(), services.Maintenance(), c.Leases.Service(), c.Webhooks.Service()}, c.Services...)
	if c.Resources != nil {
		all = append(all, c.Resources.Service())
	}
	if c.Members != nil {
		all = append(all, c.Members.Service())
	}
	if c.Certificates != nil {
		all = append(all, c.Certificates.Service())
	}
	if c.Tokens != nil {
		c.Tokens.CheckRule = func(rule interrex.AccessRule) error { return s.methods.CheckRule(rule) }
		all = append(all, c.Tokens.Service())
	}
	s.documents = all
	if c.Changes != nil {
		c.Changes.Data = all
		all = append(all, c.Changes.Service())
	}
	s.methods, err = method.NewRegistry(c.ID, c.State, c.Switches, all...)
	if err == nil {
		s.methods.Measure(c.Requests)
		s.methods.Audit = c.Audit
	}
	return err
}

// ask calls webhooks before an operation.
func (s *Server) ask(hooks []*webhook.Hook, q hookcaller.Question) (wait func(context.Context) error, err error) {
	return s.config.Webhooks.Consult(s.config.Switches.IsOff(method.WebhooksSetting), hooks, q)
}

// askLeader requests the log index of a linearizable read from the leader.
func (s *Server) askLeader(ctx context.Context, c admission.Caller) (uint64, error) {
	return s.operator.LeaderIndex(ctx, c)
}

// Data returns the JSON document of an event for webhooks; null if its table's
// service has none.
func (s *Server) Data(e *state.Event) ([]byte, error) {
	return s.documents.Of(e, s.config.State)
}

// Handler serves the public API. Streams of many operations need HTTP/2.
func (s *Server) Handler() http.Handler { return s.public }

// SocketHandler serves the socket in the data directory: what Handler serves, and
// what changes or profiles the agent itself. Its callers are operators.
func (s *Server) SocketHandler() http.Handler { return s.socket }

// InsideHandler serves what Handler serves to the agent's own process, which is an
// operator.
func (s *Server) InsideHandler() http.Handler { return s.inside }

// PeerHandler serves the requests that other agents forward, on the cluster port.
// Only authenticated agents may reach it: it trusts the caller that each operation
// names. It does not forward again: if this agent does not lead, the error is
// ErrNotLeader.
func (s *Server) PeerHandler() http.Handler { return s.peer }

// ForwardedHandler serves what Handler serves to the agents without raft, on the cluster
// port. Only authenticated agents may reach it; the callers are who their tokens say.
func (s *Server) ForwardedHandler() http.Handler { return s.forwarded }

// Drain refuses new calls (ErrDraining), ends watches and waiting claims, and
// waits until everything else is answered, or until ctx ends. It cannot be undone.
func (s *Server) Drain(ctx context.Context) error {
	return s.calls.Drain(ctx)
}

// Draining reports whether Drain has been called.
func (s *Server) Draining() bool { return s.calls.Draining() }

// options returns the options of every RPC handler.
func (s *Server) options() connect.HandlerOption {
	return connect.WithHandlerOptions(
		jsonCodecs(),
		connect.WithCodec(wire.RequestCodec{}),
		connect.WithInterceptors(explained{}),
		connect.WithReadMaxBytes(wire.MaxMessage),
		gzipped(),
		connect.WithCompressMinBytes(1<<10),
		connect.WithRecover(func(_ context.Context, spec connect.Spec, _ http.Header, reason any) error {
			return wire.Error(s.checker.Panicked(spec.Procedure, reason))
		}),
	)
}

// routes adds the API to mux.
func (s *Server) routes(mux *http.ServeMux) http.Handler {
	if s.config.Elsewhere != nil {
		return s.forwardingRoutes(mux)
	}
	rpc := http.NewServeMux()
	for _, m := range s.methods.Methods {
		rpc.Handle(m.Procedure, s.operator.Handler(m, s.options()))
	}
	for procedure, h := range s.watches.Handlers(s.options()) {
		rpc.Handle(procedure, h)
	}
	rpc.Handle(interrexv1.StreamServiceOperateProcedure, s.operator.OperateHandler(s.options()))
	// A file is sent as it is: compressing it would take more of the machine than it saves.
	rpc.Handle(interrexv1.NewMaintenanceServiceHandler(s.copies, s.options(), connect.WithCompressMinBytes(math.MaxInt),
		timed(interrexv1.File_interrex_v1_maintenance_proto.Services().ByName("MaintenanceService"), s.config.Requests, s.config.Clock)))
	s.ownServices(rpc)
	rpc.HandleFunc("/", notFound)
	s.probes(mux)
	if s.config.Changes != nil {
		s.plain.Changes(mux, *s.config.Changes)
	}
	if s.config.Members != nil {
		s.plain.Peers(mux)
	}
	mux.Handle("/", refusals{s}.tidy(rpc))
	if s.config.Resources == nil || s.config.Changes == nil {
		return mux
	}
	return s.plain.Values(*s.config.Resources, s.config.Changes.Table, mux)
}

// ownServices adds to rpc what is about the agent itself.
func (s *Server) ownServices(rpc *http.ServeMux) {
	services := s.services()
	rpc.Handle(interrexv1.NewEngineServiceHandler(engineService{s}, s.options(), timed(interrexv1.File_interrex_v1_engine_proto.Services().ByName("EngineService"), s.config.Requests, s.config.Clock)))
	rpc.Handle(grpchealth.NewHandler(&health{s, services}, s.options()))
	reflector := grpcreflect.NewStaticReflector(services...)
	for _, describe := range []func(*grpcreflect.Reflector, ...connect.HandlerOption) (string, http.Handler){grpcreflect.NewHandlerV1, grpcreflect.NewHandlerV1Alpha} {
		path, h := describe(reflector, s.options())
		rpc.Handle(path, s.calls.Handler(admission.Lasting, h)) // a stream
	}
}

// probes adds to mux what monitors ask for.
func (s *Server) probes(mux *http.ServeMux) {
	ask := probes{s}
	mux.HandleFunc("GET /livez", ask.livez)
	mux.HandleFunc("GET /readyz", ask.readyz)
	mux.HandleFunc("GET /healthz", ask.readyz)
	mux.HandleFunc("GET /leader", ask.leaderProbe)
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		if err := seesAgent(r.Context()); err != nil {
			http.Error(w, err.Error(), interrex.ErrDenied.HTTP())
			return
		}
		s.metrics.ServeHTTP(w, r)
	})
}

// services returns the names of all services.
func (s *Server) services() []string {
	names := []string{interrexv1.StreamServiceName, interrexv1.EngineServiceName, interrexv1.MaintenanceServiceName, grpchealth.HealthV1ServiceName}
	for _, m := range s.methods.Procedures {
		if name := m.Service(); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// peerRoutes returns the handler of what agents request from each other.
func (s *Server) peerRoutes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle(interrexv1.StreamServiceOperateProcedure, s.operator.OperateHandler(s.options()))
	mux.HandleFunc("/", notFound)
	return refusals{s}.tidy(mux)
}

// edge wraps next with what every request passes first: limits, the headers that name
// the leader, and who the caller is.
func (s *Server) edge(d admission.Door, next http.Handler) http.Handler {
	next = s.config.Budget.Handler(probe, next)
	if s.config.Elsewhere != nil {
		next = s.admitForwarding(d, next)
	} else {
		next = s.guard().Admit(d, free, next)
	}
	if d == admission.Public {
		next = admission.Enter(s.config.Audit, next)
	}
	return admission.Limited(s.config.BodyWait, s.config.SendWait, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		l := s.config.Leadership.Current()
		if id := s.config.State.Identity(); id.ClusterID != "" {
			h.Set(wire.HeaderEpoch, id.Epoch.String())
		}
		h.Set(wire.HeaderLeader, l.LeaderID)
		h.Set(HeaderTerm, strconv.FormatUint(l.Term, 10))
		next.ServeHTTP(w, r)
	}))
}

// guard returns what says who the callers are.
func (s *Server) guard() *admission.Guard {
	c := &s.config
	g := &admission.Guard{CAs: c.CAs, Member: c.Member, Audit: c.Audit, Silence: c.Silence}
	if c.Tokens != nil {
		g.Tokens = c.Tokens.Table
	}
	return g
}

// free reports whether anybody may request a path: the probes, which say little, and
// the description of the API.
func free(path string) bool { return probe(path) || strings.HasPrefix(path, "/grpc.reflection.") }

// probe reports whether a path is for those who look whether the agent is well.
func probe(path string) bool {
	switch path {
	case "/livez", "/readyz", "/healthz", "/leader":
		return true
	}
	return strings.HasPrefix(path, "/"+grpchealth.HealthV1ServiceName+"/")
}

// seesAgent refuses callers that may not see how this agent does.
func seesAgent(ctx context.Context) error {
	return admission.CallerOf(ctx).Now().May(accesstoken.Use{Table: "agent", Verb: "read"})
}

// profiles serves Go's own profiles.
func profiles() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}
