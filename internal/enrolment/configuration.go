package enrolment

import (
	"errors"
	"net"
	"path/filepath"

	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/authority"
	"github.com/interrex/interrex/internal/inbound"
)

// OwnFiles are the certificate files in an agent's data directory.
func OwnFiles(dir string) config.TLSFiles {
	return config.TLSFiles{
		CA: filepath.Join(dir, authority.CertName), Cert: filepath.Join(dir, authority.AgentCertName), Key: filepath.Join(dir, authority.AgentKeyName),
	}
}

// Complete names the certificate files of an agent that gets its certificate by itself,
// where its configuration leaves them out: between agents, and for an API beyond
// loopback.
func Complete(c config.Config) config.Config {
	own := OwnFiles(c.Agent.DataDir)
	if !c.Cluster.Enrols() || c.Agent.DataDir == "" {
		return c
	}
	if !c.Cluster.TLS.Present() {
		c.Cluster.TLS = own
	}
	if host, _, err := net.SplitHostPort(c.API.Listen); err == nil && !inbound.IsLoopback(host) && c.API.TLS.Cert == "" {
		c.API.TLS.Cert, c.API.TLS.Key = own.Cert, own.Key
	}
	return c
}

// Validate returns an error if an agent is to get a certificate by itself, and to use
// another one.
func Validate(c config.Config) error {
	if c.Cluster.Enrols() && c.Cluster.TLS.Present() && c.Cluster.TLS != OwnFiles(c.Agent.DataDir) {
		return errors.New("cluster.tls: the agent is to get its certificate by itself (cluster.join-token-file, cluster.ca-key-file), and keeps it in its data directory: leave cluster.tls out, or the two")
	}
	return nil
}
