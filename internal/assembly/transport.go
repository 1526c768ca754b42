package assembly

import (
	"crypto/x509"
	"fmt"
	"path/filepath"

	"github.com/juju/clock"
	"github.com/juju/worker/v3"

	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/authority"
	"github.com/interrex/interrex/internal/certificates"
	"github.com/interrex/interrex/internal/datadir"
	"github.com/interrex/interrex/internal/disk"
	"github.com/interrex/interrex/internal/jointoken"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/member"
	"github.com/interrex/interrex/internal/peering"
	"github.com/interrex/interrex/internal/ports"
	"github.com/interrex/interrex/internal/unit"
	"github.com/interrex/interrex/transport"
)

func (s *Set) startTransport(u *unit.Unit) (worker.Worker, error) {
	now, section := unit.Need[clock.Clock](u, ClockName), unit.Need[config.Cluster](u, clusterConfigName)
	dir, st := unit.Need[*datadir.Dir](u, identityName), unit.Need[*machine.State](u, StateName)
	open := unit.Need[*ports.Ports](u, portsName)
	if u.Err != nil {
		return nil, u.Err
	}
	c := s.transportConfig(section, dir, st, unit.Need[*member.Table](u, StateName))
	c.Clock = now
	if c.TLS != nil {
		c.Advertise, c.Join = section.Advertise, section.Join
		l, err := s.listen(open, ports.Cluster, section.Listen)
		if err != nil {
			return nil, fmt.Errorf("cannot listen for other agents: cluster.listen: %w", err)
		}
		c.Listener = l
	}
	t, err := peering.New(c)
	if err != nil {
		return nil, err
	}
	s.ports.Note(ports.Cluster, t.ListenAddr())
	u.After(func() { s.ports.Note(ports.Cluster, "") })
	u.Give(t, c.TLS)
	s.announce(u, t)
	return t, nil
}

// transportConfig returns the configuration of the transport, without its listener.
func (s *Set) transportConfig(section config.Cluster, dir *datadir.Dir, st *machine.State, members *member.Table) peering.Config {
	rules := s.rules(dir, st, members)
	hello := func() peering.Hello {
		h := rules.Hello()
		h.APIAddress, h.Expect, h.Version = s.advertisedAPI(), section.BootstrapExpect, s.config.Agent.Version
		h.DiskFull = s.health.DiskFull()
		if keys, err := authority.Pins(dir.Path); err == nil { // else what reads them says so
			for _, pin := range keys {
				h.CAKeys = append(h.CAKeys, pin.String())
			}
		}
		return h
	}
	c := peering.Config{
		ID: dir.ID, Hello: hello, Accept: rules.Accept, Logger: s.logger("transport"),
		Dialer: s.config.Agent.Dialer, TLS: s.config.Agent.checked().Certificates(section),
	}
	c.OnRemoved = func(peer peering.Hello, _ string) { s.hearRemoval(rules, peer) }
	c.Authorities = members.Trusted
	c.Recorded = members.Addresses
	if s.config.Agent.DataDir != "" {
		c.Memory = disk.CheckedFile{Path: filepath.Join(dir.Path, datadir.PeersName), About: "what is remembered of other agents' logs"}
	}
	if c.TLS != nil {
		c.Hello = func() peering.Hello {
			h := hello()
			known := members.Known()
			h.Certificate, h.Trusts = describe(c.TLS, known), inTrust(c.TLS, known)
			return h
		}
	}
	if files, is := c.TLS.(*certificates.Files); is {
		files.ID = dir.ID
	}
	return c
}

// describe returns what an agent says of its certificate. known are the cluster's CAs,
// in DER.
func describe(of transport.TLS, known [][]byte) peering.Certificate {
	cert, err := of.Certificate()
	if err != nil || cert.Leaf == nil {
		return peering.Certificate{}
	}
	d := peering.Certificate{Serial: cert.Leaf.SerialNumber.Text(16), Issuer: cert.Leaf.Issuer.String(), Ends: cert.Leaf.NotAfter.UTC()}
	for _, ca := range known {
		if by, err := x509.ParseCertificate(ca); err == nil && cert.Leaf.CheckSignatureFrom(by) == nil {
			d.Issuer = jointoken.PinOf(by).String()
		}
	}
	return d
}

// inTrust returns the pins of those CAs, in DER, that an agent's certificates trust.
func inTrust(own transport.TLS, cas [][]byte) (pins []string) {
	roots, err := own.Roots()
	if err != nil {
		return nil
	}
	for _, der := range cas {
		ca, err := x509.ParseCertificate(der)
		if err != nil {
			continue
		}
		if _, err := ca.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: ca.NotAfter, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err == nil {
			pins = append(pins, jointoken.PinOf(ca).String())
		}
	}
	return pins
}

// announce sends other agents the address of this one's API whenever it may have
// changed.
func (s *Set) announce(u *unit.Unit, t *peering.Transport) {
	for _, next := range []func() <-chan struct{}{
		func() <-chan struct{} { _, changed := s.ports.Addresses(); return changed },
		func() <-chan struct{} { _, changed := s.configuration.Current(); return changed }, // of api.advertise
	} {
		u.Follow(next(), func() <-chan struct{} {
			changed := next()
			t.Announce()
			return changed
		})
	}
}
