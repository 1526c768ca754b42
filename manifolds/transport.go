package manifolds

import (
	"fmt"
	"path/filepath"

	"github.com/juju/clock"
	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"

	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/raftdir"
	"github.com/interrex/interrex/raftworker"
	"github.com/interrex/interrex/state"
	"github.com/interrex/interrex/transport"
)

func (s *Set) transport() dependency.Manifold {
	return dependency.Manifold{
		Inputs: s.names(ClockName, PortsName, ClusterConfigName, IdentityName, StateName),
		Start:  s.startTransport,
		Output: owned(giveOutput),
	}
}

func (s *Set) startTransport(ctx dependency.Context) (worker.Worker, error) {
	now, err := get[clock.Clock](ctx, s.name(ClockName))
	if err != nil {
		return nil, err
	}
	section, err := get[config.Cluster](ctx, s.name(ClusterConfigName))
	if err != nil {
		return nil, err
	}
	dir, err := get[*dataDir](ctx, s.name(IdentityName))
	if err != nil {
		return nil, err
	}
	st, err := get[*state.State](ctx, s.name(StateName))
	if err != nil {
		return nil, err
	}
	open, err := get[*ports](ctx, s.name(PortsName))
	if err != nil {
		return nil, err
	}
	p := peers{
		set: s, dir: dir, state: st, expect: section.BootstrapExpect,
		tables: st.Versions(),
	}
	c := transport.Config{
		ID: dir.ID, Hello: p.hello, Accept: p.accept, Clock: now, Logger: s.logger("transport"),
		Dialer: s.config.Agent.Dialer, TLS: s.config.Agent.certificates(section),
	}
	if s.config.Agent.DataDir != "" {
		c.Memory = raftdir.CheckedFile{Path: filepath.Join(dir.path, raftworker.PeersName), About: "what is remembered of other agents' logs"}
	}
	if files, is := c.TLS.(*transport.Files); is {
		files.ID = dir.ID
	}
	if c.TLS != nil {
		c.Advertise, c.Join = section.Advertise, section.Join
		if c.Listener, err = s.listen(open, portCluster, section.Listen); err != nil {
			return nil, fmt.Errorf("cannot listen for other agents: cluster.listen: %w", err)
		}
	}
	t, err := transport.New(c)
	if err != nil {
		return nil, err
	}
	s.Present.bound(portCluster, t.ListenAddr())
	end := s.Present.set(
		func(p *parts) { p.transport, p.between = t, c.TLS },
		func(p *parts) { p.transport, p.between = nil, nil })
	w := &freed{Worker: t, free: func() {
		end()
		s.Present.bound(portCluster, "")
	}}
	return own(give(w, t), patience, s.overstayed(TransportName)), nil
}

// certificates returns the agent's, from Go or from files; nil: it is alone.
func (c AgentConfig) certificates(section config.Cluster) transport.TLS {
	switch {
	case c.TLS != nil:
		return c.TLS
	case section.TLS.Present():
		return &transport.Files{CA: section.TLS.CA, Cert: section.TLS.Cert, Key: section.TLS.Key}
	}
	return nil
}
