package config

import "time"

// Config is everything that an operator sets. The zero value of every field
// is its default, which WithDefaults fills in.
type Config struct {
	Agent    Agent    `yaml:"agent"`
	API      API      `yaml:"api"`
	Cluster  Cluster  `yaml:"cluster"`
	Raft     Raft     `yaml:"raft"`
	Features Features `yaml:"features"`
	Notify   Notify   `yaml:"notify"`
	Logging  Logging  `yaml:"logging"`
}

// Agent says who this agent is. A change of it needs a restart.
type Agent struct {
	// ID is a DNS label: 1 to 63 of `a-z 0-9 -`. Empty: the ID that the data
	// directory keeps, else the host's name.
	ID string `yaml:"id"`
	// DataDir is where the agent keeps its identity, log and snapshots. In Go,
	// empty is an agent in memory.
	DataDir string `yaml:"data-dir"`
}

// API says where programs reach this agent.
type API struct {
	// Listen is HOST:PORT; a host beyond loopback needs TLS.
	Listen string `yaml:"listen"`
	// Advertise is the address that other agents name for this agent's API.
	// Empty: the address it listens on.
	Advertise string `yaml:"advertise"`
	// Socket is the path of the operator's Unix socket. Empty:
	// DATA-DIR/interrex.sock.
	Socket string `yaml:"socket"`
	TLS    APITLS `yaml:"tls"`
}

// APITLS are the PEM files of the API's certificate. With ClientCA, callers
// must show a certificate of that authority.
type APITLS struct {
	Cert     string `yaml:"cert"`
	Key      string `yaml:"key"`
	ClientCA string `yaml:"client-ca"`
}

// Cluster says how agents reach each other.
type Cluster struct {
	Listen string `yaml:"listen"`
	// Advertise is the address that other agents dial. Empty: the address it
	// listens on.
	Advertise string `yaml:"advertise"`
	// Join are cluster addresses of other agents.
	Join []string `yaml:"join"`
	// BootstrapExpect is how many agents make the cluster, the same number on
	// all of them. 0, or 1: this agent alone.
	BootstrapExpect int `yaml:"bootstrap-expect"`
	// Timing is "lan" or "wan".
	Timing string   `yaml:"timing"`
	TLS    TLSFiles `yaml:"tls"`
}

// TLSFiles are PEM files: the cluster's authority, and this agent's
// certificate, whose one DNS name is the agent's ID. Without them an agent is
// alone.
type TLSFiles struct {
	CA   string `yaml:"ca"`
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
}

// Present reports whether any of the files is named.
func (t TLSFiles) Present() bool { return t != TLSFiles{} }

// Raft tunes the replicated log. A timeout of 0 is that of Cluster.Timing.
type Raft struct {
	HeartbeatTimeout   time.Duration `yaml:"heartbeat-timeout"`
	ElectionTimeout    time.Duration `yaml:"election-timeout"`
	LeaderLeaseTimeout time.Duration `yaml:"leader-lease-timeout"`
	// NoLeaderTimeout restarts raft after so long without a leader.
	NoLeaderTimeout time.Duration `yaml:"no-leader-timeout"`
	// SnapshotRetention is how many snapshots are kept, the newest ones: 1 to 100.
	SnapshotRetention int `yaml:"snapshot-retention"`
	// SnapshotInterval is how often it is checked whether a snapshot is due: 1 s
	// to 1 h.
	SnapshotInterval time.Duration `yaml:"snapshot-interval"`
	// SnapshotThreshold is how many entries since the last one make it due; with
	// fewer there is none.
	SnapshotThreshold uint64 `yaml:"snapshot-threshold"`
	// NonSyncedWritesToRaftLog leaves fsync out: a crash of the machine may
	// lose what was answered.
	NonSyncedWritesToRaftLog bool `yaml:"non-synced-writes-to-raft-log"`
}

// Features switches parts of the agent. A table stays in the replicated state
// when its feature is off; its API and workers go.
type Features struct {
	Leases    Switch `yaml:"leases"`
	Resources Switch `yaml:"resources"`
	Changes   Switch `yaml:"changes"`
	// Webhooks, when they are off on the agent that leads, are not called: those
	// that are asked before operations answer by their policy, and events wait.
	Webhooks Switch `yaml:"webhooks"`
}

// Notify says where changes of leases are carried to.
type Notify struct {
	// LeaseHolders is "sqlite" (DATA-DIR/lease-holders.db), "off", or the path
	// of a file that holds a PostgreSQL URL.
	LeaseHolders string `yaml:"lease-holders"`
}

// The words of Notify.LeaseHolders that are not a file.
const (
	NotifySQLite = "sqlite"
	NotifyOff    = "off"
)

// Logging says what is logged and how.
type Logging struct {
	// Level of the whole agent: critical, error, warning, info, debug, trace.
	Level string `yaml:"level"`
	// Config sets levels by module, for example "<root>=INFO;raft=DEBUG". It
	// stands above Level where both speak of a module.
	Config string `yaml:"config"`
	// Format is "text", "json", or "auto": text on a terminal.
	Format string `yaml:"format"`
}

// The names of Cluster.Timing.
const (
	TimingLAN = "lan"
	TimingWAN = "wan"
)

// Default is the configuration of an agent that says nothing.
func Default() Config {
	return Config{
		Agent:   Agent{DataDir: "/var/lib/interrex"},
		API:     API{Listen: "127.0.0.1:7400"},
		Cluster: Cluster{Listen: "0.0.0.0:7401", Timing: TimingLAN},
		Raft: Raft{
			NoLeaderTimeout:   time.Minute,
			SnapshotRetention: 2,
			SnapshotInterval:  2 * time.Minute,
			SnapshotThreshold: 8192,
		},
		Features: Features{Leases: On, Resources: On, Changes: On, Webhooks: On},
		Notify:   Notify{LeaseHolders: NotifySQLite},
		Logging:  Logging{Level: "info", Config: "<root>=INFO", Format: "auto"},
	}
}

// WithDefaults fills in what a program that embeds an agent left zero, except
// what means something when it is empty: the data directory and the addresses
// to listen on.
func (c Config) WithDefaults() Config {
	d := Default()
	if c.Cluster.Timing == "" {
		c.Cluster.Timing = d.Cluster.Timing
	}
	if c.Raft.NoLeaderTimeout == 0 {
		c.Raft.NoLeaderTimeout = d.Raft.NoLeaderTimeout
	}
	if c.Raft.SnapshotRetention == 0 {
		c.Raft.SnapshotRetention = d.Raft.SnapshotRetention
	}
	if c.Raft.SnapshotInterval == 0 {
		c.Raft.SnapshotInterval = d.Raft.SnapshotInterval
	}
	if c.Raft.SnapshotThreshold == 0 {
		c.Raft.SnapshotThreshold = d.Raft.SnapshotThreshold
	}
	if c.Features.Leases == Unset {
		c.Features.Leases = On
	}
	if c.Features.Resources == Unset {
		c.Features.Resources = On
	}
	if c.Features.Changes == Unset {
		c.Features.Changes = On
	}
	if c.Features.Webhooks == Unset {
		c.Features.Webhooks = On
	}
	if c.Notify.LeaseHolders == "" {
		c.Notify.LeaseHolders = NotifyOff
	}
	if c.Logging.Level == "" {
		c.Logging.Level = d.Logging.Level
	}
	if c.Logging.Format == "" {
		c.Logging.Format = d.Logging.Format
	}
	return c
}
