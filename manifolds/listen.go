package manifolds

import (
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
	"github.com/juju/worker/v3/dependency"

	"github.com/interrex/interrex/api"
	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/transport"
)

func (s *Set) apiListener() dependency.Manifold {
	return dependency.Manifold{
		Inputs: s.names(ClockName, APIName, APIConfigName, PortsName),
		Start: func(ctx dependency.Context) (worker.Worker, error) {
			section, err := get[config.API](ctx, s.name(APIConfigName))
			if err != nil {
				return nil, err
			}
			if section.Listen == "" {
				return nil, errOff
			}
			server, err := get[*api.Server](ctx, s.name(APIName))
			if err != nil {
				return nil, err
			}
			files, security, callers, err := apiTLS(section.TLS)
			if err != nil {
				return nil, err
			}
			handler := server.Handler()
			if callers != nil {
				handler = api.RequireClientCert(callers, handler)
			}
			open, err := get[*ports](ctx, s.name(PortsName))
			if err != nil {
				return nil, err
			}
			l, err := s.listen(open, portAPI, section.Listen)
			if err != nil {
				return nil, fmt.Errorf("cannot listen for the API: api.listen: %w", err)
			}
			w, err := s.serve(portAPI, l, handler, security, nil)
			if err != nil || files == nil {
				return w, err
			}
			end := s.Present.set(func(p *parts) { p.apiTLS = files }, func(p *parts) { p.apiTLS = nil })
			return &freed{Worker: w, free: end}, nil
		},
	}
}

// apiTLS returns the API's TLS, nil for none. The certificate is read again when
// its files have changed. callers are the authorities of client certificates,
// nil for none.
func apiTLS(section config.APITLS) (files *transport.Files, _ *tls.Config, callers *x509.CertPool, _ error) {
	if section.Cert == "" {
		return nil, nil, nil, nil
	}
	files = &transport.Files{Cert: section.Cert, Key: section.Key}
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
	pem, err := config.ReadFile(section.ClientCA)
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

func (s *Set) apiSocket() dependency.Manifold {
	return Gate(s.name(APISocketName), dependency.Manifold{
		Inputs: s.names(ClockName, APIName, SocketConfigName, IdentityName),
		Start: func(ctx dependency.Context) (worker.Worker, error) {
			section, err := get[socket](ctx, s.name(SocketConfigName))
			if err != nil {
				return nil, err
			}
			dir, err := get[*dataDir](ctx, s.name(IdentityName))
			if err != nil {
				return nil, err
			}
			path := socketPath(string(section), dir.path)
			if section == "" && s.config.Agent.DataDir == "" {
				return nil, errOff
			}
			server, err := get[*api.Server](ctx, s.name(APIName))
			if err != nil {
				return nil, err
			}
			l, err := s.listenSocket(path)
			if err != nil {
				return nil, err
			}
			return s.serve("socket", l, server.SocketHandler(), nil, nil)
		},
	}, s.name(IdentityName))
}

// listen returns a port.
func (s *Set) listen(open *ports, name, address string) (net.Listener, error) {
	if other := s.config.Agent.Listen; other != nil {
		return other("tcp", address)
	}
	return open.listen(name, address)
}

// socketPath is where the operator's socket is.
func socketPath(configured, dataDir string) string {
	return orDefault(configured, filepath.Join(dataDir, "interrex.sock"))
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

// apiPeers serves what other agents forward.
func (s *Set) apiPeers() dependency.Manifold {
	return Gate(s.name(APIPeersName), dependency.Manifold{
		Inputs: s.names(ClockName, APIName, TransportName),
		Start: func(ctx dependency.Context) (worker.Worker, error) {
			t, err := get[*transport.Transport](ctx, s.name(TransportName))
			if err != nil {
				return nil, err
			}
			server, err := get[*api.Server](ctx, s.name(APIName))
			if err != nil {
				return nil, err
			}
			l, err := t.Listener()
			if err != nil {
				return nil, err
			}
			return s.serve("", l, server.PeerHandler(), nil, transport.ConnContext)
		},
	}, s.name(TransportName))
}

// serve runs a listener; name is what Addresses calls it, "": nothing.
func (s *Set) serve(name string, l net.Listener, h http.Handler, security *tls.Config, conn func(context.Context, net.Conn) context.Context) (worker.Worker, error) {
	w, err := api.NewListener(api.ListenerConfig{
		Listener: l, Handler: h, TLS: security, ConnContext: conn, Logger: s.logger("api"),
	})
	if err != nil {
		return nil, err
	}
	if name == "" {
		return w, nil
	}
	s.Present.bound(name, l.Addr().String())
	s.announce()
	return &freed{Worker: w, free: func() { s.Present.bound(name, "") }}, nil
}

// announce tells other agents where this one's API is now.
func (s *Set) announce() {
	if t := s.Present.now().transport; t != nil {
		t.Announce()
	}
}

// advertisedAPI is the API address that others are told; empty: it is not known
// before the port is bound.
func (s *Set) advertisedAPI() string {
	current, _ := s.Configuration.Current()
	if current.API.Advertise != "" {
		return current.API.Advertise
	}
	if bound := s.Present.Addresses()[portAPI]; bound != "" {
		return bound
	}
	if _, port, err := net.SplitHostPort(current.API.Listen); err != nil || port == "0" {
		return ""
	}
	return current.API.Listen
}
