package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/certificates"
)

// portStep is how many ports the APIs of dev's agents are apart.
const portStep = 10

// devConfigs makes the configurations of n agents out of what they share. One
// alone uses the data folder itself; of several each has a folder below it, and
// a certificate that is kept there.
func devConfigs(base config.Config, n int) ([]config.Config, error) {
	host, first, err := splitPort(base.API.Listen)
	if err != nil {
		return nil, usageError{err}
	}
	if first == 0 && n > 1 {
		return nil, usageError{fmt.Errorf("--api: %s has no fixed port: several agents need one that they can be counted from", base.API.Listen)}
	}
	if last := first + (n-1)*portStep + 1; last > 65535 {
		return nil, usageError{fmt.Errorf("--api: %s is too high: %d agents go up to port %d", base.API.Listen, n, last)}
	}
	var all []config.Config
	var clusters []string
	for i := range n {
		c := base
		c.Agent.ID = "dev-" + strconv.Itoa(i+1)
		c.API.Listen = joinPort(host, first+i*portStep)
		c.Cluster.Listen = joinPort(host, first+i*portStep+1)
		clusters = append(clusters, c.Cluster.Listen)
		all = append(all, c)
	}
	if n == 1 {
		return all, nil
	}
	for i := range all {
		c := &all[i]
		c.Agent.DataDir = filepath.Join(base.Agent.DataDir, c.Agent.ID)
		c.Cluster.Join, c.Cluster.BootstrapExpect = clusters, n
	}
	return all, certify(all)
}

func splitPort(address string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(address)
	if err == nil {
		port, err = net.LookupPort("tcp", text)
	}
	if err != nil {
		return "", 0, fmt.Errorf("--api: %q is not HOST:PORT", address)
	}
	return host, port, nil
}

func joinPort(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }

// certify issues a certificate to each agent. Those of an earlier run are used
// again when all of them are still good; else all are made anew, by a CA whose
// key is forgotten at once.
func certify(all []config.Config) error {
	if certified(all) {
		return nil
	}
	ca, err := certificates.DevCA()
	if err != nil {
		return err
	}
	for _, c := range all {
		if err := os.MkdirAll(c.Agent.DataDir, 0o700); err != nil {
			return fmt.Errorf("cannot make a folder for the data: %w", err)
		}
		if _, err := ca.Write(c.Agent.DataDir, c.Agent.ID); err != nil {
			return err
		}
	}
	if !certified(all) {
		return fmt.Errorf("cannot use the certificates that were just made in %s", filepath.Dir(all[0].Agent.DataDir))
	}
	return nil
}

// certified names the files, and says whether all of them are good.
func certified(all []config.Config) bool {
	for i := range all {
		c := &all[i]
		c.Cluster.TLS = config.TLSFiles{
			CA:   filepath.Join(c.Agent.DataDir, "ca.pem"),
			Cert: filepath.Join(c.Agent.DataDir, "agent.pem"),
			Key:  filepath.Join(c.Agent.DataDir, "agent.key"),
		}
		files := certificates.Files{CA: c.Cluster.TLS.CA, Cert: c.Cluster.TLS.Cert, Key: c.Cluster.TLS.Key}
		if _, err := files.Certificate(); err != nil {
			return false
		}
	}
	return true
}
