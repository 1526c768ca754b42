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

// portStep is the distance between the API ports of dev's agents.
const portStep = 10

// devConfigs returns the configurations of n agents, made from the one that they
// share. A single agent uses the data directory itself; several have a directory each
// below it, with their certificates.
func devConfigs(base config.Config, n int) ([]config.Config, error) {
	host, first, err := splitPort(base.API.Listen)
	if err != nil {
		return nil, usageError{err}
	}
	if first == 0 && n > 1 {
		return nil, usageError{fmt.Errorf("--api: %s has no fixed port: give the port of the first agent, from which those of the others are counted", base.API.Listen)}
	}
	if last := first + (n-1)*portStep + 1; last > 65535 {
		return nil, usageError{fmt.Errorf("--api: %s is too high: %d agents need ports up to %d", base.API.Listen, n, last)}
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
		c.Agent.DataDir = agentDir(base.Agent.DataDir, i)
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

// certify gives each agent a certificate. Those of an earlier run are reused if all
// of them are still valid; otherwise all are issued again, by a CA whose key is not
// kept.
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
			return fmt.Errorf("cannot create a directory for the data: %w", err)
		}
		if _, err := ca.Write(c.Agent.DataDir, c.Agent.ID); err != nil {
			return err
		}
	}
	if !certified(all) {
		return fmt.Errorf("cannot use the certificates that were just issued in %s", filepath.Dir(all[0].Agent.DataDir))
	}
	return nil
}

// certified sets the files of each agent, and reports whether all of them are valid.
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

// sameDev returns an error if a directory has only the data of another number of
// agents, which would not be used.
func sameDev(dir string, n int) error {
	alone, several := hasData(dir), 0
	for hasData(agentDir(dir, several)) {
		several++
	}
	has := several
	if several == 0 && alone {
		has = 1
	}
	if has == 0 || has == n || n == 1 && alone {
		return nil
	}
	return fmt.Errorf("--data-dir: %s has the data of 'interrex dev --nodes %d': give --nodes %d, or another directory", dir, has, has)
}

// hasData reports whether an agent has run in a directory.
func hasData(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "identity.json"))
	return err == nil
}

// agentDir returns the directory of one of several agents.
func agentDir(dir string, i int) string { return filepath.Join(dir, "dev-"+strconv.Itoa(i+1)) }
