package manifolds

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"github.com/juju/worker/v3"

	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/apiserver"
	"github.com/interrex/interrex/internal/certificates"
	"github.com/interrex/interrex/internal/disk"
	"github.com/interrex/interrex/internal/listener"
	"github.com/interrex/interrex/internal/ports"
	"github.com/interrex/interrex/transport"
)

func (s *Set) startAPIListener(u *unit) (worker.Worker, error) {
	section, server := need[config.API](u, APIConfigName), need[*apiserver.Server](u, APIName)
	open := need[*ports.Ports](u, PortsName)
	if u.err == nil && section.Listen == "" {
		u.err = errOff
	}
	if u.err != nil {
		return nil, u.err
	}
	files, security, callers, err := apiTLS(section.TLS)
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

// apiTLS returns the API's TLS, nil for none. The certificate is read again when
// its files have changed. callers are the authorities of client certificates,
// nil for none.
func apiTLS(section config.APITLS) (files *certificates.Files, _ *tls.Config, callers *x509.CertPool, _ error) {
	if section.Cert == "" {
		return nil, nil, nil, nil
	}
	files = &certificates.Files{Cert: section.Cert, Key: section.Key}
	if _, err := files.Certificate(); err != nil {
		return nil, nil, nil, fmt.Errorf("cannot serve the API: %w", err)
	}
	c := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return files.Certificate() },
	}
	if section.ClientCA == "" {
		return files, c, nil, nil
	}
	pem, err := disk.ReadSmall(section.ClientCA)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("cannot serve the API: api.tls.client-ca: %w", err)
	}
	callers = x509.NewCertPool()
	if !callers.AppendCertsFromPEM(pem) {
		return nil, nil, nil, fmt.Errorf("cannot serve the API: api.tls.client-ca: %s has no certificate in PEM", section.ClientCA)
	}
	c.ClientAuth = tls.RequestClientCert // RequireClientCert judges it
	return files, c, callers, nil
}

func (s *Set) startAPISocket(u *unit) (worker.Worker, error) {
	section, dir := need[socket](u, SocketConfigName), need[*dataDir](u, IdentityName)
	if u.err == nil && section == "" && s.config.Agent.DataDir == "" {
		u.err = errOff
	}
	server := need[*apiserver.Server](u, APIName)
	if u.err != nil {
		return nil, u.err
	}
	l, err := s.listenSocket(socketPath(string(section), dir.path))
	if err != nil {
		return nil, err
	}
	return s.serve(u, "socket", l, server.SocketHandler(), nil, nil)
}

// listen returns a port.
func (s *Set) listen(open *ports.Ports, name, address string) (net.Listener, error) {
	if other := s.config.Agent.Listen; other != nil {
		return other("tcp", address)
	}
	return open.Listen(name, address)
}

// socketPath is where the operator's socket is.
func socketPath(configured, dataDir string) string {
	return cmp.Or(configured, filepath.Join(dataDir, "interrex.sock"))
}

// maxSocketPath is how long the path of a socket may be, in bytes.
const maxSocketPath = 107

// listenSocket takes the place of a socket that a killed process has left
// behind: the data directory is locked, so nobody else listens on it.
func (s *Set) listenSocket(path string) (net.Listener, error) {
	if other := s.config.Agent.Listen; other != nil {
		return other("unix", path)
	}
	if err := checkSocketPath(path); err != nil {
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

// checkSocketPath reports why a socket cannot be at a path.
func checkSocketPath(path string) error {
	if len(path) > maxSocketPath {
		return fmt.Errorf("%s: the path has %d bytes, %d are allowed: set api.socket to a shorter one", path, len(path), maxSocketPath)
	}
	if info, err := os.Lstat(path); err == nil && info.Mode()&os.ModeSocket == 0 {
		return fmt.Errorf("%s: another file is there", path)
	}
	return nil
}

// startAPIPeers serves what other agents forward.
func (s *Set) startAPIPeers(u *unit) (worker.Worker, error) {
	t, server := need[*transport.Transport](u, TransportName), need[*apiserver.Server](u, APIName)
	if u.err != nil {
		return nil, u.err
	}
	l, err := t.Listener()
	if err != nil {
		return nil, err
	}
	return s.serve(u, "", l, server.PeerHandler(), nil, transport.ConnContext)
}

// serve runs a listener; name is what Addresses calls it, "": nothing.
func (s *Set) serve(u *unit, name string, l net.Listener, h http.Handler, security *tls.Config, conn func(context.Context, net.Conn) context.Context) (worker.Worker, error) {
	w, err := listener.New(listener.Config{
		Listener: l, Handler: h, TLS: security, ConnContext: conn, Logger: s.logger("api"),
	})
	if err != nil || name == "" {
		return w, err
	}
	s.ports.Note(name, l.Addr().String())
	u.after(func() { s.ports.Note(name, "") })
	return w, nil
}

// advertisedAPI is the API address that others are told; empty: it is not known
// before the port is bound.
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
