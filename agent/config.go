package agent

import (
	"context"
	"database/sql"
	"log/slog"
	"net"

	"github.com/juju/clock"
	"github.com/juju/loggo"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/api"
	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/assembly"
	"github.com/interrex/interrex/internal/logs"
	"github.com/interrex/interrex/state"
	"github.com/interrex/interrex/transport"
)

// Config is what an agent is made of: what an operator sets (see package config
// for each section; zero values are defaults), and below it what only Go can give.
// An agent with a data directory and nothing else is a cluster of one.
type Config struct {
	// ID is this agent's. Empty: what the data directory keeps, else the
	// host's name.
	ID string
	// DataDir is where the agent keeps its identity, log and snapshots. Empty:
	// in memory, and nothing outlives the agent.
	DataDir string
	// API.Listen empty opens no port; API.Socket empty opens none in memory,
	// else DataDir/interrex.sock.
	API      config.API
	Cluster  config.Cluster
	Raft     config.Raft
	Compare  config.Compare
	Features config.Features
	Backstop config.Backstop
	Notify   config.Notify
	Backup   config.Backup
	Logging  config.Logging

	// Logger is the context whose loggers the agent uses: modules
	// "interrex.raft" and the like. nil: warnings and errors on standard error.
	Logger *loggo.Context
	// Clock of every wait and deadline but the holder's own. nil: the wall
	// clock.
	Clock clock.Clock
	// Registry takes the agent's metrics while it runs: they are registered when
	// it starts, and unregistered when it has stopped or could not start. It takes
	// one agent at a time; for several, wrap it: prometheus.WrapRegistererWith with
	// a label that tells them apart. nil: only /metrics serves them, as it always
	// does.
	Registry prometheus.Registerer
	// Collectors are served by /metrics beside the agent's metrics, and are not
	// put into Registry.
	Collectors []prometheus.Collector
	// TLS provides the certificates between agents in place of the files of
	// Cluster.TLS. nil: the files.
	TLS transport.TLS
	// Dialer connects to other agents. nil: TCP.
	Dialer transport.Dialer
	// Listen makes listeners in place of the machine's, and HoldClock is the clock
	// by which leases that are held through this agent are kept: both are for tests
	// on virtual time, where nothing may wait for a socket. nil: TCP and
	// Unix sockets; the system's clock, which counts sleep.
	Listen    func(network, address string) (net.Listener, error)
	HoldClock interrex.Clock
	// SQLite opens the database of lease holders at a path. nil: the agent
	// has no driver, and Notify.LeaseHolders may not be "sqlite".
	SQLite func(path string) (*sql.DB, error)
	// Postgres opens a database by its URL. Its errors are shown to operators:
	// they must not hold the URL, which has a password. nil: as above.
	Postgres func(url string) (*sql.DB, error)
	// Tables are the embedder's own, beside interrex's. All agents of a cluster
	// have the same ones.
	Tables []Table
	// FSM makes a state machine of the embedder's own, empty, for what needs no
	// table. It is called each time the replicated state starts: the newest one is
	// the one in use. All agents of a cluster have it, or none. Agent.Propose, with
	// no table, sends commands to it. nil: no state machine.
	FSM func() interrex.FSM
	// Observers see what this agent applies. nil: there are none.
	Observers *Observers
	// Wanted returns the IDs of the agents that the cluster is meant to have now, in place
	// of Backstop.Members, for a program that knows them. It is called every 5 s while no
	// leader is known, must not block, and may return none when it does not know. nil:
	// Backstop.Members.
	Wanted func() []string
	// Load reads the configuration again for a reload. nil: reloads are refused.
	Load func() (config.Config, error)
	// Drain is called when an operator requests a drain; it returns when the agent
	// is drained, and has it stop. nil: agents made by New drain and stop by
	// themselves; with NewWorkers such a request is refused. A program with an engine
	// of its own calls Workers.Drain here, then stops its engine.
	Drain func(context.Context) error
	// Version is shown in status, hellos and metrics.
	Version string
}

// FromFile makes a Config of what an operator has set.
func FromFile(c config.Config) Config {
	return Config{
		ID: c.Agent.ID, DataDir: c.Agent.DataDir, API: c.API, Cluster: c.Cluster, Raft: c.Raft, Compare: c.Compare,
		Features: c.Features, Backstop: c.Backstop, Notify: c.Notify, Backup: c.Backup, Logging: c.Logging,
	}
}

// assembled returns the configuration for the workers.
func (c Config) assembled() assembly.AgentConfig {
	a := assembly.AgentConfig{
		ID: c.ID, DataDir: c.DataDir, API: c.API, Cluster: c.Cluster, Raft: c.Raft, Compare: c.Compare,
		Features: c.Features, Backstop: c.Backstop, Notify: c.Notify, Backup: c.Backup, Logging: c.Logging,
		Logger: c.Logger, Clock: c.Clock, Registry: c.Registry, Collectors: c.Collectors,
		TLS: c.TLS, Dialer: c.Dialer, Listen: c.Listen, HoldClock: c.HoldClock,
		SQLite: c.SQLite, Postgres: c.Postgres, Tables: c.Tables, FSM: c.FSM,
		Wanted: c.Wanted, Load: c.Load, Drain: c.Drain, Version: c.Version,
	}
	if c.Observers != nil {
		a.Observers = &c.Observers.inner
	}
	return a
}

// Validate reports which values are wrong, one line each.
func (c Config) Validate() error { return c.assembled().Validate() }

// Check reports, beyond what Validate of the file sees, why an agent could not be
// run with this configuration on this machine, with a line for each problem; and
// what is doubtful but does not stop it. It opens the files that are named, connects
// to the database for 5 s at most, and binds the addresses for a moment unless an
// agent runs in the data directory. It changes nothing there, and does not read
// raft's log.
func (c Config) Check(ctx context.Context) (warnings []string, err error) {
	return c.assembled().Check(ctx)
}

// Table makes an embedder's own table, empty, and the service that it offers;
// the zero Service means no service. It is called each time the replicated
// state starts, and to check the configuration. The table's name is that of none
// of interrex's own. Its ID is state.FirstEmbedderTable or above, and the numbers of
// its methods are the 256 from 256 times the ID on.
type Table = func() (state.Table, api.Service)

// Slog makes Config.Logger out of a slog.Logger.
func Slog(to *slog.Logger) *loggo.Context { return logs.Slog(to) }
