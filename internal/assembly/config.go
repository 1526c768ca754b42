package assembly

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"

	"github.com/juju/clock"
	"github.com/juju/loggo"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/api"
	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/check"
	"github.com/interrex/interrex/internal/enrolment"
	"github.com/interrex/interrex/internal/fsm"
	"github.com/interrex/interrex/internal/method"
	"github.com/interrex/interrex/internal/watch"
	"github.com/interrex/interrex/raftworker"
	"github.com/interrex/interrex/state"
	"github.com/interrex/interrex/transport"
)

// AgentConfig is what an agent is made of: see agent.Config, which has the same
// fields.
type AgentConfig struct {
	ID         string
	DataDir    string
	API        config.API
	Cluster    config.Cluster
	Raft       config.Raft
	Compare    config.Compare
	Features   config.Features
	Backstop   config.Backstop
	Notify     config.Notify
	Backup     config.Backup
	Logging    config.Logging
	Logger     *loggo.Context
	Clock      clock.Clock
	Registry   prometheus.Registerer
	Collectors []prometheus.Collector
	TLS        transport.TLS
	Dialer     transport.Dialer
	Listen     func(network, address string) (net.Listener, error)
	HoldClock  interrex.Clock
	SQLite     func(path string) (*sql.DB, error)
	Postgres   func(url string) (*sql.DB, error)
	Tables     []func() (state.Table, api.Service)
	FSM        func() interrex.FSM
	Observers  *watch.Observers
	Wanted     func() []string
	Load       func() (config.Config, error)
	Drain      func(context.Context) error
	Version    string
}

// tables makes the embedder's own tables, and their services.
func (c AgentConfig) tables() (tables []state.Table, served []method.Service) {
	for _, make := range c.Tables {
		table, service := make()
		tables, served = append(tables, table), append(served, method.ServiceOf(service))
	}
	return tables, served
}

// file returns the part that an operator sets, with its defaults.
func (c AgentConfig) file() config.Config {
	return enrolment.Complete(config.Config{
		Agent: config.Agent{ID: c.ID, DataDir: c.DataDir}, API: c.API, Cluster: c.Cluster, Raft: c.Raft, Compare: c.Compare,
		Features: c.Features, Backstop: c.Backstop, Notify: c.Notify, Backup: c.Backup, Logging: c.Logging,
	}.WithDefaults())
}

// Validate reports which values are wrong, one line each.
func (c AgentConfig) Validate() error {
	return errors.Join(c.validate(c.file()), check.Tables(c.Tables, append(OwnTables(), new(fsm.Table))))
}

// validate reports which values of a configuration file are wrong for this agent.
func (c AgentConfig) validate(file config.Config) error {
	if c.TLS != nil {
		// Certificates from Go replace the files.
		file.Cluster.TLS = config.TLSFiles{CA: "given", Cert: "given", Key: "given"}
	}
	return errors.Join(file.Validate(), enrolment.Validate(file), fit(file), c.checked().Notify(file), c.validateBackstop(file))
}

// validateBackstop reports why a backstop would never act.
func (c AgentConfig) validateBackstop(file config.Config) error {
	switch {
	case !file.Features.Backstop.On():
		return nil
	case c.DataDir == "":
		return errors.New("features.backstop: an agent in memory has nothing to recover from: set agent.data-dir, or switch it off")
	case len(file.Backstop.Members) == 0 && file.Backstop.Command == "" && c.Wanted == nil:
		return errors.New("features.backstop: silence of the others is no reason to go on without them: set backstop.command, or, once they are gone for good, backstop.members")
	}
	return nil
}

// checked returns what the examination of a configuration needs of this agent.
func (c AgentConfig) checked() check.Agent {
	return check.Agent{TLS: c.TLS, SQLite: c.SQLite, Postgres: c.Postgres}
}

// Check reports, beyond what Validate does, why an agent could not be run: see
// agent.Config.Check.
func (c AgentConfig) Check(ctx context.Context) (warnings []string, err error) {
	file := c.file()
	warnings, err = c.checked().All(ctx, file)
	return warnings, errors.Join(fit(file), c.validateBackstop(file), err)
}

// fit reports what the workers of some sections would refuse.
func fit(c config.Config) error {
	wanted := raftConfig(raftOf(c))
	wanted.LocalID = "any"
	var all []error
	// Validate reports what is wrong with single values; this is about their combination.
	if _, err := raftworker.NewRaftConfig(wanted); err != nil && c.Validate() == nil {
		all = append(all, fmt.Errorf("raft: %w", err))
	}
	if _, err := loggo.ParseConfigString(c.Logging.Config); err != nil {
		all = append(all, fmt.Errorf("logging.config: %w", err))
	}
	return errors.Join(all...)
}

// Config describes an agent's manifolds and their names.
type Config struct {
	Agent AgentConfig
	// Prefix begins every name. Empty: none.
	Prefix string
}
