package manifolds

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/juju/clock"
	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/api"
	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/lease"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/state"
	"github.com/interrex/interrex/transport"
	"github.com/interrex/interrex/watch"
)

// leasesFeature lives while leases are switched on.
func (s *Set) leasesFeature() dependency.Manifold {
	return dependency.Manifold{
		Inputs: s.names(FeaturesConfigName),
		Start: func(ctx dependency.Context) (worker.Worker, error) {
			features, err := get[config.Features](ctx, s.name(FeaturesConfigName))
			if err != nil {
				return nil, err
			}
			if !features.Leases.On() {
				return nil, errOff
			}
			return keep(nil, nil), nil
		},
	}
}

// api makes the server, which outlives every restart of raft: what it needs of
// raft it looks up when it needs it.
func (s *Set) api() dependency.Manifold {
	return Gate(s.name(APIName), dependency.Manifold{
		Inputs: s.names(ClockName, IdentityName, StateName, QueueName, FeaturesConfigName),
		Start:  s.startAPI,
		Output: giveOutput,
	}, s.names(StateName, QueueName)...)
}

func (s *Set) startAPI(ctx dependency.Context) (worker.Worker, error) {
	c := api.Config{
		Version:        s.config.Agent.Version,
		Leadership:     s.Leadership,
		NextLeadership: func() func(context.Context) (interrex.Leadership, error) { return s.Leadership.Watch().Next },
		Reads: func() (api.Reads, bool) {
			rounds := s.Present.now().rounds
			return rounds, rounds != nil
		},
		Waiting: func(k interrex.Key) (int, bool) {
			applier := s.Present.now().applier
			if applier == nil || applier.ReadyTerm() == 0 {
				return 0, false
			}
			return applier.Waiting(k), true
		},
		Forward: s.forward,
		Engine:  engine{set: s, started: s.started},
		Ready:   s.ready,
		Metrics: s.Registry,
		Logger:  s.logger("api"),
	}
	dir, err := get[*dataDir](ctx, s.name(IdentityName))
	if err != nil {
		return nil, err
	}
	c.ID = dir.ID
	if c.Clock, err = get[clock.Clock](ctx, s.name(ClockName)); err != nil {
		return nil, err
	}
	if c.State, err = get[*state.State](ctx, s.name(StateName)); err != nil {
		return nil, err
	}
	if c.Leases, err = get[*lease.Table](ctx, s.name(StateName)); err != nil {
		return nil, err
	}
	if c.Ring, err = get[*watch.Ring](ctx, s.name(StateName)); err != nil {
		return nil, err
	}
	if c.Queue, err = get[*queue.Queue](ctx, s.name(QueueName)); err != nil {
		return nil, err
	}
	features, err := get[config.Features](ctx, s.name(FeaturesConfigName))
	if err != nil {
		return nil, err
	}
	c.LeasesOff = !features.Leases.On()
	server, err := api.New(c)
	if err != nil {
		return nil, err
	}
	end := s.Present.set(func(p *parts) { p.server = server }, func(p *parts) { p.server = nil })
	return give(keep(func() error {
		end()
		// The listeners wait for what is open: a client's stream ends only when
		// its server does. Calls that take longer are the listeners' to cut.
		ctx, cancel := context.WithTimeout(context.Background(), serverTimeout)
		defer cancel()
		if err := server.Drain(ctx); err != nil {
			s.logger("api").Warningf("the API stops: %v", err)
		}
		return nil
	}, nil), server), nil
}

// serverTimeout bounds the wait for open calls of an API that is restarted or
// stopped without a drain before it.
const serverTimeout = time.Second

// forward gives the way to another agent.
func (s *Set) forward(_ context.Context, id string) (api.Forwarder, error) {
	f := s.Present.now().forwarder
	if f == nil {
		return nil, interrex.Errorf(interrex.KindUnavailable, "cannot forward to %s: the transport is not running", id)
	}
	return f.to(id)
}

func (s *Set) apiListener() dependency.Manifold {
	return dependency.Manifold{
		Inputs: s.names(ClockName, APIName, APIConfigName),
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
			security, err := apiTLS(section.TLS)
			if err != nil {
				return nil, err
			}
			l, err := net.Listen("tcp", section.Listen)
			if err != nil {
				return nil, fmt.Errorf("cannot listen for the API: %w", err)
			}
			return s.serve("api", l, server.Handler(), security, nil)
		},
	}
}

// apiTLS gives the API's TLS, nil for none. The certificate is read again when
// its files have changed.
func apiTLS(section config.APITLS) (*tls.Config, error) {
	if section.Cert == "" {
		return nil, nil
	}
	files := &transport.Files{Cert: section.Cert, Key: section.Key}
	if _, err := files.Certificate(); err != nil {
		return nil, fmt.Errorf("cannot serve the API: %w", err)
	}
	c := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return files.Certificate() },
	}
	if section.ClientCA == "" {
		return c, nil
	}
	pem, err := os.ReadFile(section.ClientCA)
	if err != nil {
		return nil, fmt.Errorf("cannot serve the API: api.tls.client-ca: %w", err)
	}
	c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
	if !c.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("cannot serve the API: api.tls.client-ca: %s has no certificate in PEM", section.ClientCA)
	}
	return c, nil
}

func (s *Set) apiSocket() dependency.Manifold {
	return Gate(s.name(APISocketName), dependency.Manifold{
		Inputs: s.names(ClockName, APIName, APIConfigName, IdentityName),
		Start: func(ctx dependency.Context) (worker.Worker, error) {
			section, err := get[config.API](ctx, s.name(APIConfigName))
			if err != nil {
				return nil, err
			}
			dir, err := get[*dataDir](ctx, s.name(IdentityName))
			if err != nil {
				return nil, err
			}
			path := section.Socket
			if path == "" && s.config.Agent.DataDir == "" {
				return nil, errOff
			}
			if path == "" {
				path = filepath.Join(dir.path, "interrex.sock")
			}
			server, err := get[*api.Server](ctx, s.name(APIName))
			if err != nil {
				return nil, err
			}
			l, err := listenSocket(path)
			if err != nil {
				return nil, err
			}
			return s.serve("socket", l, server.SocketHandler(), nil, nil)
		},
	}, s.name(IdentityName))
}

// listenSocket takes the place of a socket that a killed process has left
// behind: the data directory is locked, so nobody else listens on it.
func listenSocket(path string) (net.Listener, error) {
	if len(path) > 107 {
		return nil, fmt.Errorf("cannot listen on the socket %s: its path has %d bytes, 107 are allowed: set api.socket to a shorter one", path, len(path))
	}
	if info, err := os.Lstat(path); err == nil {
		if info.Mode()&os.ModeSocket == 0 {
			return nil, fmt.Errorf("cannot listen on the socket %s: another file is there", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("cannot listen on the socket: %w", err)
		}
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
	return &freed{Worker: w, free: func() { s.Present.bound(name, "") }}, nil
}

// advertisedAPI is the API address that others are told.
func (s *Set) advertisedAPI() string {
	current, _ := s.Configuration.Current()
	if current.API.Advertise != "" {
		return current.API.Advertise
	}
	if bound := s.Present.Addresses()["api"]; bound != "" {
		return bound
	}
	return current.API.Listen
}
