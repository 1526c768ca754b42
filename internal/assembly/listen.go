package assembly

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"

	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"

	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/gate"
	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/apiserver"
	"github.com/interrex/interrex/internal/check"
	"github.com/interrex/interrex/internal/datadir"
	"github.com/interrex/interrex/internal/enrolment"
	"github.com/interrex/interrex/internal/inbound"
	"github.com/interrex/interrex/internal/listener"
	"github.com/interrex/interrex/internal/member"
	"github.com/interrex/interrex/internal/peercall"
	"github.com/interrex/interrex/internal/peering"
	"github.com/interrex/interrex/internal/ports"
	"github.com/interrex/interrex/internal/unit"
)

func (s *Set) startAPIListener(u *unit.Unit) (worker.Worker, error) {
	section, server := unit.Need[config.API](u, apiConfigName), unit.Need[*apiserver.Server](u, apiName)
	open := unit.Need[*ports.Ports](u, portsName)
	if u.Err == nil && section.Listen == "" {
		u.Err = errOff
	}
	has := unit.Need[gate.Flag](u, enrolmentName)
	if u.Err == nil && !has.Check() && section.TLS.Cert == enrolment.OwnFiles(s.config.Agent.DataDir).Cert {
		u.Err = fmt.Errorf("the agent has no certificate yet: %w", dependency.ErrMissing)
	}
	if u.Err != nil {
		return nil, u.Err
	}
	files, security, err := check.APITLS(section.TLS)
	if err != nil {
		return nil, err
	}
	handler := server.Handler()
	if files != nil && section.TLS.ClientCA != "" {
		handler = admission.VerifyClientCert(files.Callers, handler)
	}
	l, err := s.listen(open, ports.API, section.Listen)
	if err != nil {
		return nil, fmt.Errorf("cannot listen for the API: api.listen: %w", err)
	}
	if files != nil {
		u.Give(files)
	}
	return s.serve(u, ports.API, l, handler, security, entrance(section))
}

// entrance returns what the API's port asks of every request.
func entrance(section config.API) admission.Entrance {
	host, _, _ := net.SplitHostPort(section.Listen) // Validate has reported it
	advertised, _, _ := net.SplitHostPort(section.Advertise)
	name, _ := os.Hostname() // without a name of its own it is localhost
	loopback := inbound.IsLoopback(host)
	return admission.Entrance{
		Loopback: loopback, Names: []string{name, advertised},
		Closed: !loopback && !section.Open && section.TLS.ClientCA == "",
	}
}

func (s *Set) startAPISocket(u *unit.Unit) (worker.Worker, error) {
	section, dir := unit.Need[socket](u, socketConfigName), unit.Need[*datadir.Dir](u, identityName)
	if u.Err == nil && section == "" && s.config.Agent.DataDir == "" {
		u.Err = errOff
	}
	server := unit.Need[*apiserver.Server](u, apiName)
	if u.Err != nil {
		return nil, u.Err
	}
	l, err := s.listenSocket(check.SocketPath(config.Config{API: config.API{Socket: string(section)}, Agent: config.Agent{DataDir: dir.Path}}))
	if err != nil {
		return nil, err
	}
	return s.serve(u, "socket", l, server.SocketHandler(), nil, admission.Entrance{})
}

// listen binds a port.
func (s *Set) listen(open *ports.Ports, name, address string) (net.Listener, error) {
	if other := s.config.Agent.Listen; other != nil {
		return other("tcp", address)
	}
	return open.Listen(name, address)
}

// listenSocket replaces a socket that a killed process has left behind, and no other.
func (s *Set) listenSocket(path string) (net.Listener, error) {
	if other := s.config.Agent.Listen; other != nil {
		return other("unix", path)
	}
	l, err := listener.Socket(path, check.FreeSocket)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on the socket: %w", err)
	}
	return l, nil
}

// startAPIPeers serves what other agents forward, and what they request of this one.
func (s *Set) startAPIPeers(u *unit.Unit) (worker.Worker, error) {
	t, server := unit.Need[*peering.Transport](u, TransportName), unit.Need[*apiserver.Server](u, apiName)
	dir, table := unit.Need[*datadir.Dir](u, identityName), unit.Need[*member.Table](u, StateName)
	if u.Err != nil {
		return nil, u.Err
	}
	l, err := t.Listener()
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/", server.PeerHandler())
	s.keys(dir, table, t).Serve(mux)
	s.issuer(dir, table).Serve(mux)
	s.comparisons.Serve(mux, t.ID())
	return listener.New(listener.Config{
		Listener: l, Handler: mux, Logger: s.logger("api"),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return peercall.WithPeer(ctx, inbound.PeerOf(c))
		},
	})
}

// serve runs a listener; name is its name in Addresses, "": it is not listed.
func (s *Set) serve(u *unit.Unit, name string, l net.Listener, h http.Handler, security *tls.Config, e admission.Entrance) (worker.Worker, error) {
	c := listener.Config{Listener: l, Handler: h, TLS: security, Logger: s.logger("api"), Metrics: s.metrics.connections}
	if name == "" {
		return listener.New(c)
	}
	closing, end := context.WithCancel(context.Background())
	u.After(end)
	c.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		return admission.WithEntrance(admission.WithClosing(ctx, closing), e, func() { listener.NoteWaste(c) })
	}
	c.Closing, c.Rest = end, &s.unanswered
	w, err := listener.New(c)
	if err != nil {
		return nil, err
	}
	s.ports.Note(name, l.Addr().String())
	u.After(func() { s.ports.Note(name, "") })
	return w, nil
}

// advertisedAPI returns the address of the API for other agents; empty: there is none,
// or it is not known before the port is bound.
func (s *Set) advertisedAPI() string {
	current, _ := s.configuration.Current()
	if current.API.Advertise != "" {
		return current.API.Advertise
	}
	if bound := s.Addresses()[ports.API]; bound != "" {
		return bound
	}
	if _, port, err := net.SplitHostPort(current.API.Listen); err != nil || port == "0" {
		return ""
	}
	return current.API.Listen
}

// startPorts owns what is bound and not yet served.
func (s *Set) startPorts(u *unit.Unit) (worker.Worker, error) {
	s.ports.Open()
	u.Free(s.ports.Close)
	u.ReportBy(s.ports.Report)
	u.Give(s.ports)
	return nil, nil
}
