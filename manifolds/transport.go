package manifolds

import (
	"fmt"
	"path/filepath"

	"github.com/juju/clock"
	"github.com/juju/worker/v3"

	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/disk"
	"github.com/interrex/interrex/raftworker"
	"github.com/interrex/interrex/state"
	"github.com/interrex/interrex/transport"
)

func (s *Set) startTransport(u *unit) (worker.Worker, error) {
	now, section := need[clock.Clock](u, ClockName), need[config.Cluster](u, ClusterConfigName)
	dir, st := need[*dataDir](u, IdentityName), need[*state.State](u, StateName)
	open := need[*ports](u, PortsName)
	if u.err != nil {
		return nil, u.err
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
		c.Memory = disk.CheckedFile{Path: filepath.Join(dir.path, raftworker.PeersName), About: "what is remembered of other agents' logs"}
	}
	if files, is := c.TLS.(*transport.Files); is {
		files.ID = dir.ID
	}
	if c.TLS != nil {
		c.Advertise, c.Join = section.Advertise, section.Join
		l, err := s.listen(open, portCluster, section.Listen)
		if err != nil {
			return nil, fmt.Errorf("cannot listen for other agents: cluster.listen: %w", err)
		}
		c.Listener = l
	}
	t, err := transport.New(c)
	if err != nil {
		return nil, err
	}
	s.ports.note(portCluster, t.ListenAddr())
	u.after(func() { s.ports.note(portCluster, "") })
	u.give(t, c.TLS)
	s.announce(u, t)
	return t, nil
}

// announce tells other agents where this one's API is whenever that may have
// changed.
func (s *Set) announce(u *unit, t *transport.Transport) {
	for _, next := range []func() <-chan struct{}{
		func() <-chan struct{} { _, changed := s.ports.addresses(); return changed },
		func() <-chan struct{} { _, changed := s.Configuration.Current(); return changed }, // of api.advertise
	} {
		u.follow(next(), func() <-chan struct{} {
			changed := next()
			t.Announce()
			return changed
		})
	}
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
