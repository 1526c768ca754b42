package api

import (
	"context"
	"net/http"
	"net/http/pprof"
	"slices"

	"connectrpc.com/connect"
	"connectrpc.com/grpchealth"
	"connectrpc.com/grpcreflect"
	"github.com/juju/errors"

	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/wire"
)

// Server answers the API of one agent. It listens nowhere: a Listener, or
// anybody's own server, serves its handlers.
type Server struct {
	config     Config
	procedures []wire.Method // all of the services
	methods    methods
	takers     takers
	watches    map[uint32]*WatchMethod // by number
	documents  Changes                 // of the events of all tables
	readIndex  *Method
	calls      *calls
	reports    reporter
	metrics    http.Handler

	public, socket, peer http.Handler
}

// New makes a server.
func New(c Config) (*Server, error) {
	if err := c.Validate(); err != nil {
		return nil, errors.Trace(err)
	}
	c.setDefaults()
	s := &Server{config: c, calls: newCalls()}
	services := append([]Service{stateService(), c.Leases.Service(), c.Webhooks.Service()}, c.Services...)
	if c.Resources != nil {
		services = append(services, c.Resources.Service())
	}
	if c.Changes != nil {
		c.Changes.Services = services
		services = append(services, c.Changes.Service())
	}
	s.documents.Services = services
	if err := s.take(services); err != nil {
		return nil, errors.Annotate(err, "cannot serve")
	}
	for _, m := range s.methods {
		m.latency = c.Requests.latency(m.Procedure)
	}
	s.reports.engine = c.Engine
	s.metrics = s.newMetrics()
	s.public = s.edge(doorPublic, s.routes(http.NewServeMux()))
	s.socket = s.edge(doorSocket, s.routes(profiles()))
	s.peer = s.edge(doorPeer, s.peerRoutes())
	return s, nil
}

// Handler is the public API. Streams of many operations need HTTP/2.
func (s *Server) Handler() http.Handler { return s.public }

// SocketHandler is the API on the socket in the data directory: what Handler
// serves, and what changes or profiles the agent itself. Its caller is the
// operator.
func (s *Server) SocketHandler() http.Handler { return s.socket }

// PeerHandler is what other agents forward requests to, on the cluster port.
// Only authenticated agents may reach it: it believes the caller that each
// operation names. What arrives there goes no further: where this agent does
// not lead it is KindNotLeader.
func (s *Server) PeerHandler() http.Handler { return s.peer }

// Drain refuses what is new (KindDraining), ends watches and waiting claims,
// and waits until everything else is answered, or until ctx ends. There is no
// way back.
func (s *Server) Drain(ctx context.Context) error {
	return errors.Trace(s.calls.drain(ctx))
}

// Draining reports whether Drain has been called.
func (s *Server) Draining() bool { return s.calls.draining() }

// options are those of every RPC handler.
func (s *Server) options() connect.HandlerOption {
	return connect.WithHandlerOptions(
		jsonCodecs(),
		connect.WithInterceptors(explained{}),
		connect.WithReadMaxBytes(MaxMessage),
		connect.WithCompressMinBytes(1<<10),
		connect.WithRecover(func(_ context.Context, spec connect.Spec, _ http.Header, reason any) error {
			return wire.Error(s.panicked(spec.Procedure, reason))
		}),
	)
}

// routes puts the API into mux.
func (s *Server) routes(mux *http.ServeMux) http.Handler {
	rpc := http.NewServeMux()
	services := s.services()
	for _, m := range s.methods {
		rpc.Handle(m.Procedure, m.face(s, m))
	}
	for _, m := range s.watches {
		rpc.Handle(m.Procedure, m.face(s, m))
	}
	rpc.Handle(s.operateHandler())
	rpc.Handle(interrexv1.StreamServiceWatchProcedure, connect.NewBidiStreamHandler(interrexv1.StreamServiceWatchProcedure, s.watchAll, s.options(), connect.WithCodec(wire.StreamCodec{})))
	rpc.Handle(interrexv1.NewEngineServiceHandler(engineService{s}, s.options(), s.timed(interrexv1.File_interrex_v1_engine_proto.Services().ByName("EngineService"))))
	rpc.Handle(grpchealth.NewHandler(&health{s, services}, s.options()))
	reflector := grpcreflect.NewStaticReflector(services...)
	rpc.Handle(grpcreflect.NewHandlerV1(reflector, s.options()))
	rpc.Handle(grpcreflect.NewHandlerV1Alpha(reflector, s.options()))
	rpc.HandleFunc("/", notFound)

	mux.HandleFunc("GET /livez", s.livez)
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.HandleFunc("GET /healthz", s.readyz)
	mux.HandleFunc("GET /leader", s.leaderProbe)
	mux.Handle("GET /metrics", s.metrics)
	if s.config.Changes != nil {
		plainChanges{s, *s.config.Changes}.routes(mux)
	}
	mux.Handle("/", s.tidy(rpc))
	if s.config.Resources == nil || s.config.Changes == nil {
		return mux
	}
	return plainValues{s, *s.config.Resources, s.config.Changes.Table}.route(mux)
}

// services are the names of all services.
func (s *Server) services() []string {
	names := []string{interrexv1.StreamServiceName, interrexv1.EngineServiceName, grpchealth.HealthV1ServiceName}
	for _, m := range s.procedures {
		if name := m.Service(); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

func (s *Server) operateHandler() (string, http.Handler) {
	const procedure = interrexv1.StreamServiceOperateProcedure
	return procedure, connect.NewBidiStreamHandler(procedure, s.operate, s.options(), connect.WithCodec(wire.StreamCodec{}))
}

// peerRoutes is what an agent asks another for.
func (s *Server) peerRoutes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle(s.operateHandler())
	mux.HandleFunc("/", notFound)
	return s.tidy(mux)
}

// profiles are Go's own.
func profiles() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}
