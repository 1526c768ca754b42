package manifolds

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/juju/clock"
	"github.com/juju/loggo"
	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/api"
	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/hold"
	"github.com/interrex/interrex/lease"
	"github.com/interrex/interrex/raftworker"
	"github.com/interrex/interrex/state"
	"github.com/interrex/interrex/transport"
	"github.com/interrex/interrex/watch"
	"github.com/interrex/interrex/webhook"
)

// AgentConfig is what an agent is made of: what an operator sets (see package
// config for each section; zero values are defaults), and below it what only
// Go can give.
type AgentConfig struct {
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
	Features config.Features
	Notify   config.Notify
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
	// Collectors are served by /metrics beside the agent's own metrics, and are not
	// put into Registry.
	Collectors []prometheus.Collector
	// TLS supplies the certificates between agents in place of the files of
	// Cluster.TLS. nil: the files.
	TLS transport.TLS
	// Dialer connects to other agents. nil: TCP.
	Dialer transport.Dialer
	// Listen makes listeners in place of the machine's, and HoldClock is the clock
	// by which leases that are held through this agent are kept: a test gives them
	// that runs on virtual time, where nothing may wait for a socket. nil: TCP and
	// Unix sockets; the system's clock, which counts sleep.
	Listen    func(network, address string) (net.Listener, error)
	HoldClock hold.Clock
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
	// the one in use. All agents of a cluster have it, or none. agent.Propose, with
	// no table, brings commands to it. nil: there is none.
	FSM func() interrex.FSM
	// Observers see what this agent applies. nil: nobody does.
	Observers *watch.Observers
	// Load reads the configuration anew for a reload. nil: there is none.
	Load func() (config.Config, error)
	// Drain is called by the operator's wish to stop the agent politely; it
	// returns when it is drained. nil: an engine of somebody else's is his to
	// stop.
	Drain func(context.Context) error
	// Version is shown in status, hellos and metrics.
	Version string
}

// Table makes an embedder's own table, empty, and the service that it offers;
// the zero Service means no service. It is called each time the replicated
// state starts, and to check the configuration. The table's ID is
// state.FirstEmbedderTable or above, and the numbers of its methods are the 256 from
// 256 times the ID on.
type Table func() (state.Table, api.Service)

// tables makes the embedder's own tables, and their services.
func (c AgentConfig) tables() (tables []state.Table, services []api.Service) {
	for _, make := range c.Tables {
		table, service := make()
		tables, services = append(tables, table), append(services, service)
	}
	return tables, services
}

// validTables reports what is wrong with the embedder's own tables.
func (c AgentConfig) validTables() error {
	for i, make := range c.Tables {
		if make == nil {
			return fmt.Errorf("tables: number %d is nil", i)
		}
	}
	tables, services := c.tables()
	for _, t := range tables {
		if t != nil && t.ID() < state.FirstEmbedderTable {
			return fmt.Errorf("tables: table %q has the ID %d: an embedder's own begin at %d", t.Name(), t.ID(), state.FirstEmbedderTable)
		}
	}
	if err := (state.Config{Tables: append(tables, lease.New(lease.Config{}), webhook.New(webhook.Config{}))}).Validate(); err != nil {
		return fmt.Errorf("tables: %w", err)
	}
	if err := api.ValidateServices(services...); err != nil {
		return fmt.Errorf("tables: %w", err)
	}
	for i, t := range tables {
		if err := api.ValidateService(t.ID(), services[i]); err != nil {
			return fmt.Errorf("tables: the service of table %q: %w", t.Name(), err)
		}
	}
	return nil
}

// FromFile makes an AgentConfig of what an operator has set.
func FromFile(c config.Config) AgentConfig {
	return AgentConfig{
		ID: c.Agent.ID, DataDir: c.Agent.DataDir, API: c.API, Cluster: c.Cluster, Raft: c.Raft,
		Features: c.Features, Notify: c.Notify, Logging: c.Logging,
	}
}

// file is the part that an operator sets, with its defaults.
func (c AgentConfig) file() config.Config {
	return config.Config{
		Agent: config.Agent{ID: c.ID, DataDir: c.DataDir}, API: c.API, Cluster: c.Cluster, Raft: c.Raft,
		Features: c.Features, Notify: c.Notify, Logging: c.Logging,
	}.WithDefaults()
}

// Validate says which values are wrong, one line each.
func (c AgentConfig) Validate() error {
	return errors.Join(c.validate(c.file()), c.validTables())
}

// validate says which values of a configuration file are wrong for this agent.
func (c AgentConfig) validate(file config.Config) error {
	if c.TLS != nil {
		// Certificates that Go gives stand for the files.
		file.Cluster.TLS = config.TLSFiles{CA: "given", Cert: "given", Key: "given"}
	}
	return errors.Join(file.Validate(), fit(file), c.validNotify(file.Notify))
}

// validNotify says what is missing for a database of lease holders.
func (c AgentConfig) validNotify(section config.Notify) error {
	switch {
	case section.LeaseHolders == config.NotifyOff:
		return nil
	case strings.Contains(section.LeaseHolders, "://"):
		return errors.New("notify.lease-holders: give the path of a file that holds the URL, not the URL, which has a password")
	case section.LeaseHolders != config.NotifySQLite && c.Postgres == nil:
		return errors.New("notify.lease-holders: no PostgreSQL driver is linked: set AgentConfig.Postgres")
	case section.LeaseHolders != config.NotifySQLite:
		return nil
	case c.SQLite == nil:
		return errors.New("notify.lease-holders: no SQLite driver is linked: set AgentConfig.SQLite")
	case c.DataDir == "":
		return errors.New("notify.lease-holders: an agent in memory has no directory for a SQLite file")
	}
	return nil
}

// fit says what the workers of some sections would refuse, before they have to.
func fit(c config.Config) error {
	wanted := raftConfig(raftOf(c))
	wanted.LocalID = "any"
	var all []error
	// What is wrong for itself has been said; only the whole is left.
	if _, err := raftworker.NewRaftConfig(wanted); err != nil && c.Validate() == nil {
		all = append(all, fmt.Errorf("raft: %w", err))
	}
	if _, err := loggo.ParseConfigString(c.Logging.Config); err != nil {
		all = append(all, fmt.Errorf("logging.config: %w", err))
	}
	return errors.Join(all...)
}

// Config says which agent's manifolds are wanted, and under which names.
type Config struct {
	Agent AgentConfig
	// Prefix begins every name. Empty: none. The constants of this package
	// have DefaultPrefix.
	Prefix string
}

// Manifolds are all workers of an agent, for anybody's dependency.Engine. To
// leave one out, delete it: what needs it does not start. A configuration that
// is wrong gives a single manifold, whose start says what is wrong.
//
// Put the engine among them, by Engine(engine) as EngineName: then
// "agent report" shows all of its workers, with the program's, and a worker that is
// stopped knows whether everything is. Without it the report shows these workers
// only, and whether everything stops is guessed.
func Manifolds(c Config) dependency.Manifolds {
	set, err := New(c)
	if err == nil {
		return set.Manifolds
	}
	return dependency.Manifolds{c.Name(ConfigName): {
		Start: func(dependency.Context) (worker.Worker, error) {
			return nil, fmt.Errorf("cannot run an agent: %w", err)
		},
	}}
}
