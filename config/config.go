package config

import "time"

// Config is an agent's configuration. The zero value of a field means its
// default, which WithDefaults fills in.
type Config struct {
	Agent    Agent    `yaml:"agent"`
	API      API      `yaml:"api"`
	Cluster  Cluster  `yaml:"cluster"`
	Raft     Raft     `yaml:"raft"`
	Compare  Compare  `yaml:"compare"`
	Features Features `yaml:"features"`
	Backstop Backstop `yaml:"backstop"`
	Notify   Notify   `yaml:"notify"`
	Backup   Backup   `yaml:"backup"`
	Logging  Logging  `yaml:"logging"`
}

// Agent identifies this agent. Changing it needs a restart.
type Agent struct {
	// ID is a DNS label: 1 to 63 of `a-z 0-9 -`. Empty: the ID stored in the data
	// directory, else the host's name.
	ID string `yaml:"id"`
	// DataDir is where the agent keeps its identity, log and snapshots. In Go,
	// empty means an agent in memory.
	DataDir string `yaml:"data-dir"`
}

// API is where programs reach this agent.
type API struct {
	// Listen is HOST:PORT; a host beyond loopback needs TLS. In a file the default is
	// 127.0.0.1:7400; in Go, empty opens no port.
	Listen string `yaml:"listen"`
	// Advertise is the address that other agents name for this agent's API.
	// Empty: the address it listens on.
	Advertise string `yaml:"advertise"`
	// Socket is the path of the operator's Unix socket. Empty:
	// DATA-DIR/interrex.sock.
	Socket string `yaml:"socket"`
	// Open makes every caller of an API beyond loopback an operator until there is an
	// access token. Without it such an API admits nobody until then, except with a
	// certificate of TLS.ClientCA.
	Open bool `yaml:"open"`
	// TokenFile is the file of an access token, for an agent without raft: callers on
	// its socket, and the agent itself, have the rights of this token unless they show
	// another.
	TokenFile string `yaml:"token-file"`
	// MaxRequestBytes is how much memory all requests under way may use: at least 64 MiB.
	// 0: an eighth of what the process may use, which is the smallest of its cgroup's
	// limit, GOMEMLIMIT and the machine's memory. Changing it needs a restart.
	MaxRequestBytes int    `yaml:"max-request-bytes"`
	TLS             APITLS `yaml:"tls"`
}

// APITLS are the PEM files of the API's certificate. With ClientCA, callers must
// present a certificate of that CA.
type APITLS struct {
	Cert     string `yaml:"cert"`
	Key      string `yaml:"key"`
	ClientCA string `yaml:"client-ca"`
}

// Cluster is how agents reach each other.
type Cluster struct {
	// Listen is HOST:PORT. In a file the default is 0.0.0.0:7401; in Go, empty opens
	// no port.
	Listen string `yaml:"listen"`
	// Advertise is the address that other agents dial. Empty: the address it
	// listens on.
	Advertise string `yaml:"advertise"`
	// Join are cluster addresses of other agents.
	Join []string `yaml:"join"`
	// BootstrapExpect is how many agents create the cluster, the same number on all
	// of them. 0 or 1: only this agent.
	BootstrapExpect int `yaml:"bootstrap-expect"`
	// JoinTokenFile is the file of a join token: an agent that has no certificate in its
	// data directory gets one from the agents of Join, and tries until it has. An agent
	// that has one does not read the file.
	JoinTokenFile string `yaml:"join-token-file"`
	// CAKeyFile is the file of the key of the cluster's CA, the same on each of the
	// BootstrapExpect agents that create the cluster: an agent that has no certificate in
	// its data directory makes one with it. An agent that has one does not read the file.
	CAKeyFile string `yaml:"ca-key-file"`
	// Timing is "lan", the default, or "wan".
	Timing string   `yaml:"timing"`
	TLS    TLSFiles `yaml:"tls"`
}

// Enrols reports whether the agent is to get its certificate by itself. It is then in
// its data directory.
func (c Cluster) Enrols() bool { return c.JoinTokenFile != "" || c.CAKeyFile != "" }

// TLSFiles are PEM files: the cluster's CA, and this agent's certificate, whose
// one DNS name is the agent's ID. Without them an agent has no peers.
type TLSFiles struct {
	CA   string `yaml:"ca"`
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
}

// Present reports whether any of the files is set.
func (t TLSFiles) Present() bool { return t != TLSFiles{} }

// Raft tunes the replicated log. A timeout of 0 is that of Cluster.Timing: the first
// three are 300 ms, 300 ms and 250 ms, and with "wan" 1 s, 1 s and 500 ms.
type Raft struct {
	// Enabled is on by default. Off: the agent has no log, no data and no vote, and
	// forwards every request to the members at Cluster.Join. Changing it needs a restart.
	Enabled Switch `yaml:"enabled"`

	HeartbeatTimeout   time.Duration `yaml:"heartbeat-timeout"`
	ElectionTimeout    time.Duration `yaml:"election-timeout"`
	LeaderLeaseTimeout time.Duration `yaml:"leader-lease-timeout"`
	// NoLeaderTimeout is how long raft may be without a leader before it is
	// restarted. 0: 1 min.
	NoLeaderTimeout time.Duration `yaml:"no-leader-timeout"`
	// SnapshotRetention is how many snapshots are kept, the newest ones: 1 to 100.
	// 0: 2.
	SnapshotRetention int `yaml:"snapshot-retention"`
	// SnapshotInterval is how often it is checked whether a snapshot is due: 1 s
	// to 1 h. 0: 2 min.
	SnapshotInterval time.Duration `yaml:"snapshot-interval"`
	// SnapshotThreshold is how many entries since the last snapshot make the next
	// one due; with fewer none is made. 0: 8192. Of a large state it takes more: one
	// for every 4 KiB of the newest snapshot.
	SnapshotThreshold uint64 `yaml:"snapshot-threshold"`
	// NonSyncedWritesToRaftLog omits fsync: a crash of the machine may lose
	// acknowledged writes.
	NonSyncedWritesToRaftLog bool `yaml:"non-synced-writes-to-raft-log"`
}

// Compare is how often the members compare their states, as the agent that leads has it.
type Compare struct {
	// Enabled is on by default. Off: this agent begins no comparison, and takes part in
	// those that others begin.
	Enabled Switch `yaml:"enabled"`
	// Every is the time after which states are compared, if anything was written: 1 s to
	// 24 h. 0: 10 min.
	Every time.Duration `yaml:"every"`
	// Revisions is after how many revisions they are compared, if that is earlier. 0:
	// 1 000 000.
	Revisions uint64 `yaml:"revisions"`
}

// Features switches parts of the agent on and off; all but the backstop are on by
// default. A table stays in the replicated state when its feature is off; its API and
// workers do not run.
type Features struct {
	Leases    Switch `yaml:"leases"`
	Resources Switch `yaml:"resources"`
	Changes   Switch `yaml:"changes"`
	// Webhooks are not called if this is off on the leader: before operations their
	// policy applies, and events wait.
	Webhooks Switch `yaml:"webhooks"`
	// Backstop recovers the cluster from this agent after its majority was lost for
	// good: see Backstop.
	Backstop Switch `yaml:"backstop"`
}

// Backstop is what must be said of the other members before this agent, without
// anybody's help, continues as the only member of a cluster that has lost its quorum.
// That they are silent is not enough. One of the two is needed where Features.Backstop
// is on.
type Backstop struct {
	// Members are the IDs of the agents that the cluster is meant to have now. A list of
	// only this agent says that the others are gone for good: never write it before.
	Members []string `yaml:"members"`
	// Command is the path of a program that is called with the ID and the address of
	// each missing voter, and returns 0 within 30 s if its machine is off.
	Command string `yaml:"command"`
}

// Notify is where changes of leases are copied to.
type Notify struct {
	// LeaseHolders is "sqlite" (DATA-DIR/lease-holders.db), "off", or the path
	// of a file that holds a PostgreSQL URL. In a file the default is "sqlite"; in
	// Go, empty is "off", because an embedder chooses the SQL driver.
	LeaseHolders string `yaml:"lease-holders"`
}

// The words of Notify.LeaseHolders that are not a file.
const (
	notifySQLite = "sqlite"
	notifyOff    = "off"
)

// Off reports whether nothing is copied.
func (n Notify) Off() bool { return n.LeaseHolders == notifyOff }

// SQLite reports whether the copy is a file in the data directory.
func (n Notify) SQLite() bool { return n.LeaseHolders == notifySQLite }

// Backup are the copies of the whole state that this agent makes by itself.
type Backup struct {
	// To is the absolute path of a directory outside of the data directory, which must
	// exist. Empty: no copies are made.
	To string `yaml:"to"`
	// Every is how old the newest copy is when the next one is made: 1 min to 8760 h
	// (365 days). 0: 24 h.
	Every time.Duration `yaml:"every"`
	// Keep is how many copies of this agent are kept, the newest ones: 1 to 1000. 0: 7.
	Keep int `yaml:"keep"`
}

// Logging is what is logged and how.
type Logging struct {
	// Level of the whole agent: critical, error, warning, info, debug, trace. Empty:
	// info.
	Level string `yaml:"level"`
	// Config sets levels by module, for example "<root>=INFO;raft=DEBUG". It
	// overrides Level for these modules.
	Config string `yaml:"config"`
	// Format is "text", "json", or "auto": text on a terminal. Empty: auto.
	Format string `yaml:"format"`
}

// The names of Cluster.Timing.
const (
	timingLAN = "lan"
	timingWAN = "wan"
)

// Default returns the configuration of an agent that sets nothing.
func Default() Config {
	return Config{
		Agent:   Agent{DataDir: "/var/lib/interrex"},
		API:     API{Listen: "127.0.0.1:7400"},
		Cluster: Cluster{Listen: "0.0.0.0:7401", Timing: timingLAN},
		Raft: Raft{
			Enabled:           On,
			NoLeaderTimeout:   time.Minute,
			SnapshotRetention: 2,
			SnapshotInterval:  2 * time.Minute,
			SnapshotThreshold: 8192,
		},
		Compare:  Compare{Enabled: On, Every: 10 * time.Minute, Revisions: 1_000_000},
		Features: Features{Leases: On, Resources: On, Changes: On, Webhooks: On, Backstop: Off},
		Notify:   Notify{LeaseHolders: notifySQLite},
		Backup:   Backup{Every: 24 * time.Hour, Keep: 7},
		Logging:  Logging{Level: "info", Config: "<root>=INFO", Format: "auto"},
	}
}

// WithDefaults fills in the fields that a program that embeds an agent left zero,
// except those for which empty has a meaning: the data directory and the
// addresses to listen on.
func (c Config) WithDefaults() Config {
	d := Default()
	if c.Cluster.Timing == "" {
		c.Cluster.Timing = d.Cluster.Timing
	}
	if c.Raft.Enabled == unset {
		c.Raft.Enabled = On
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
	if c.Compare.Enabled == unset {
		c.Compare.Enabled = On
	}
	if c.Compare.Every == 0 {
		c.Compare.Every = d.Compare.Every
	}
	if c.Compare.Revisions == 0 {
		c.Compare.Revisions = d.Compare.Revisions
	}
	if c.Features.Leases == unset {
		c.Features.Leases = On
	}
	if c.Features.Resources == unset {
		c.Features.Resources = On
	}
	if c.Features.Changes == unset {
		c.Features.Changes = On
	}
	if c.Features.Webhooks == unset {
		c.Features.Webhooks = On
	}
	if c.Features.Backstop == unset {
		c.Features.Backstop = Off
	}
	if c.Notify.LeaseHolders == "" {
		c.Notify.LeaseHolders = notifyOff
	}
	if c.Backup.Every == 0 {
		c.Backup.Every = d.Backup.Every
	}
	if c.Backup.Keep == 0 {
		c.Backup.Keep = d.Backup.Keep
	}
	if c.Logging.Level == "" {
		c.Logging.Level = d.Logging.Level
	}
	if c.Logging.Format == "" {
		c.Logging.Format = d.Logging.Format
	}
	return c
}
