package manifolds

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"

	"github.com/juju/worker/v3"

	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/apiserver"
	"github.com/interrex/interrex/internal/check"
	"github.com/interrex/interrex/internal/listener"
	"github.com/interrex/interrex/internal/ports"
	"github.com/interrex/interrex/transport"
)

func (s *Set) startAPIListener(u *unit) (worker.Worker, error) {
	section, server := need[config.API](u, apiConfigName), need[*apiserver.Server](u, apiName)
	open := need[*ports.Ports](u, portsName)
	if u.err == nil && section.Listen == "" {
		u.err = errOff
	}
	if u.err != nil {
		return nil, u.err
	}
	files, security, callers, err := check.APITLS(section.TLS)
	if err != nil {
		return nil, err
	}
	handler := server.Handler()
	if callers != nil {
		handler = listener.RequireClientCert(callers, handler)
	}
	l, err := s.listen(open, ports.API, section.Listen)
	if err != nil {
		return nil, fmt.Errorf("cannot listen for the API: api.listen: %w", err)
	}
	if files != nil {
		u.give(files)
	}
	return s.serve(u, ports.API, l, handler, security, nil)
}

func (s *Set) startAPISocket(u *unit) (worker.Worker, error) {
	section, dir := need[socket](u, socketConfigName), need[*dataDir](u, identityName)
	if u.err == nil && section == "" && s.config.Agent.DataDir == "" {
		u.err = errOff
	}
	server := need[*apiserver.Server](u, apiName)
	if u.err != nil {
		return nil, u.err
	}
	l, err := s.listenSocket(check.SocketPath(config.Config{API: config.API{Socket: string(section)}, Agent: config.Agent{DataDir: dir.path}}))
	if err != nil {
		return nil, err
	}
	return s.serve(u, "socket", l, server.SocketHandler(), nil, nil)
}

// listen binds a port.
func (s *Set) listen(open *ports.Ports, name, address string) (net.Listener, error) {
	if other := s.config.Agent.Listen; other != nil {
		return other("tcp", address)
	}
	return open.Listen(name, address)
}

// listenSocket replaces a socket that a killed process has left behind: the data
// directory is locked, so no other process listens on it.
func (s *Set) listenSocket(path string) (net.Listener, error) {
	if other := s.config.Agent.Listen; other != nil {
		return other("unix", path)
	}
	if err := check.SocketFile(path); err != nil {
		return nil, fmt.Errorf("cannot listen on the socket: %w", err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot listen on the socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on the socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// startAPIPeers serves what other agents forward.
func (s *Set) startAPIPeers(u *unit) (worker.Worker, error) {
	t, server := need[*transport.Transport](u, TransportName), need[*apiserver.Server](u, apiName)
	if u.err != nil {
		return nil, u.err
	}
	l, err := t.Listener()
	if err != nil {
		return nil, err
	}
	return s.serve(u, "", l, server.PeerHandler(), nil, transport.ConnContext)
}

// serve runs a listener; name is its name in Addresses, "": it is not listed.
func (s *Set) serve(u *unit, name string, l net.Listener, h http.Handler, security *tls.Config, conn func(context.Context, net.Conn) context.Context) (worker.Worker, error) {
	c := listener.Config{Listener: l, Handler: h, TLS: security, ConnContext: conn, Logger: s.logger("api")}
	if name == "" {
		return listener.New(c)
	}
	closing, end := context.WithCancel(context.Background())
	u.after(end)
	c.ConnContext = func(ctx context.Context, _ net.Conn) context.Context { return admission.WithClosing(ctx, closing) }
	c.Closing, c.Rest = end, &s.unanswered
	w, err := listener.New(c)
	if err != nil {
		return nil, err
	}
	s.ports.Note(name, l.Addr().String())
	u.after(func() { s.ports.Note(name, "") })
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
func (s *Set) startPorts(u *unit) (worker.Worker, error) {
	s.ports.Open()
	u.free(s.ports.Close)
	u.report = s.ports.Report
	u.give(s.ports)
	return nil, nil
}
