package raftworker

import (
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft-wal/types"
	"github.com/juju/clock"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/disk"
	"github.com/interrex/interrex/internal/founding"
	"github.com/interrex/interrex/internal/hclogger"
	"github.com/interrex/interrex/internal/peering"
	"github.com/interrex/interrex/internal/raftdir"
	"github.com/interrex/interrex/internal/raftrules"
	"github.com/interrex/interrex/leaseapplier"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/raftworker/leadership"
	"github.com/interrex/interrex/state"
)

// The bounds of a worker's waits.
const (
	// LoopTimeout is how long NewWorker waits for the loop to serve.
	LoopTimeout = time.Minute

	defaultNoLeaderTimeout   = time.Minute
	defaultCheckPeriod       = 10 * time.Second
	defaultStallTimeout      = 10 * time.Second
	defaultHandoverTimeout   = 2 * time.Second
	defaultVisitTimeout      = 10 * time.Second
	defaultStopTimeout       = 10 * time.Second
	defaultSnapshotRetention = 2
)

// Transport is a raft transport for one life of raft. It must support pre-vote:
// without it, an agent that returns from a partition ends the leader's term
// (hashicorp/raft#474).
//
// Drain returns when no request of another agent is being handled and none will
// be; Close ends what this agent sends. The worker calls both.
type Transport interface {
	raft.Transport
	raft.WithPreVote
	Drain()
	Close() error
}

// Rules are those of one life of raft towards other agents, for its transport: an agent's
// own applies them, and further ones to whom it connects.
type Rules interface {
	// MaySend returns why a request of raft's (a *raft.RequestVoteRequest, ...)
	// must not leave this agent; nil: it may.
	MaySend(request any) error
	// Answer answers a request of another agent in raft's place; false: raft is to
	// answer it.
	Answer(request any) (response any, err error, answered bool)
	// Handing is called before a request, other than a heartbeat, is passed to raft.
	// If it returns a function, that is called once raft has answered, and no other
	// request reaches raft before that.
	Handing(request any) (answered func())
}

// Config is a Worker's configuration. Unlike Juju's it has no target to notify of
// leases: every agent publishes events of what it has applied, so a target's
// failure never affects raft.
type Config struct {
	// State is the replicated state, which outlives the worker.
	State State
	// Logger of the worker and of raft.
	Logger Logger
	// StorageDir is the directory of log, vote and snapshots. Only the worker
	// may use it.
	StorageDir string
	// NonSyncedWritesToRaftLog omits fsync, with a warning. A crash of the machine (not
	// of the process) may then lose entries that were acknowledged: a cluster may
	// forget a lease that it has granted, or grant a token twice.
	NonSyncedWritesToRaftLog bool
	// LocalID is the agent's ID, which is also its address in raft.
	LocalID raft.ServerID
	// Transport makes the transport of this life of raft, which applies that life's
	// rules. The worker closes it.
	Transport func(Rules) (Transport, error)
	// Clock is used for all of the worker's own waits and deadlines.
	Clock clock.Clock
	// Queue is passed to NewApplier; it outlives the worker.
	Queue *queue.Queue
	// NewApplier makes the applier for a raft that has just started. The worker
	// owns it.
	NewApplier func(*raft.Raft, *queue.Queue) (leaseapplier.LeaseApplier, error)

	// Leadership receives who leads. Optional.
	Leadership *leadership.Tracker
	// Observe is called with the events of raft, in order, and with the ID of the peer
	// that one is about. Raft's own goroutines call it: it must not block, nor call raft
	// or the worker. Optional.
	Observe func(kind, peer string, e interrex.RaftEvent)
	// APIAddress returns the API address of an agent, empty when it is unknown.
	// nil: all are unknown.
	APIAddress func(id string) string
	// Bootstrap returns the IDs of the first members, and false while they are
	// undecided. It is called while the log is empty; after an error, which is
	// logged, it is called again. nil: this agent waits until a cluster adds it.
	Bootstrap func() (ids []string, decided bool, err error)
	// Incarnations returns the incarnations of the known agents, by ID: a new
	// cluster's first entry records them. Optional.
	Incarnations func() map[string]string
	// Charter returns what the first entry of a cluster that this agent founds holds
	// besides the cluster's identity. Optional.
	Charter func() []state.Operation

	// Leaving returns why this agent must not be elected, for reasons that the
	// worker does not know, such as that the agent is stopping. Reluctant returns
	// why another member should lead, if one may. They must not block. Optional.
	Leaving, Reluctant func() error
	// KnownDisk returns why raft is closed to a member because of its disk, whose
	// incarnation and cluster it names, or why it must not be asked for its vote; nil:
	// there is no reason. It must not block. Optional.
	KnownDisk func(id, incarnation, clusterID string, vote bool) error
	// FitMember reports whether a member may lead, as far as is known. It must not
	// block. nil: all may.
	FitMember func(id string) bool
	// FitnessChanged is called when this agent's fitness to lead has changed, so
	// that others can be informed. It must not block. Optional.
	FitnessChanged func()

	// Timing supplies the timeouts below that are zero: "lan" (heartbeat
	// and election 300 ms, leader's lease 250 ms: a killed leader has a successor
	// after 700 ms, half of the times) or "wan" (1 s, 1 s, 500 ms); empty: the first.
	Timing string
	// ElectionTimeout, HeartbeatTimeout and LeaderLeaseTimeout are raft's;
	// zero: Timing's. The lease must be shorter than the heartbeat.
	ElectionTimeout    time.Duration
	HeartbeatTimeout   time.Duration
	LeaderLeaseTimeout time.Duration
	// SnapshotInterval is how often it is checked whether a snapshot is due,
	// and SnapshotThreshold how many entries make it due, or one for every 4 KiB of
	// the newest snapshot if that is more; zero: 2 m and 8192.
	SnapshotInterval  time.Duration
	SnapshotThreshold uint64
	// SnapshotRetention is how many snapshots are kept; zero: 2.
	SnapshotRetention int
	// NoLeaderTimeout is how long the worker runs without contact with a leader;
	// zero: 1 m.
	NoLeaderTimeout time.Duration

	// PrometheusRegisterer registers the worker's metrics. Optional.
	// hashicorp's own metrics are global to a process and are not used.
	PrometheusRegisterer prometheus.Registerer

	// Earlier is what earlier lives of raft in this process know of StorageDir; this
	// one adds to it. nil: this is the first.
	Earlier *Earlier

	checkPeriod     time.Duration // between two checks for a leader; zero: a quarter of NoLeaderTimeout, at most 10 s
	stallTimeout    time.Duration // how long a leader with uncommitted entries may commit none before it hands over; zero: 10 s
	writeTimeout    time.Duration // of a write to the disk; zero: 5 s
	handoverTimeout time.Duration // of each of the last stamp and the transfer at a stop; zero: 2 s
	visitTimeout    time.Duration // of the wait for visitors at a stop; zero: 10 s
	stopTimeout     time.Duration // of the wait for raft itself at a stop; zero: 10 s
	logBytes        int64         // of the log at which a snapshot is taken; zero: maxLogBytes

	segment int       // bytes of a file of the log; 0: raftlog.DefaultSegmentSize
	files   types.VFS // under the log; nil: this machine's
}

// Earlier is what successive lives of raft in one process know of their
// StorageDir, so that a directory removed in between is not started anew. The
// zero value is that of the first.
type Earlier struct{ dir raftdir.Earlier }

// Validate returns an error for the first field that is missing or not valid.
func (c Config) Validate() error {
	switch {
	case c.State == nil:
		return errors.New("nil State not valid")
	case c.Logger == nil:
		return errors.New("nil Logger not valid")
	case c.StorageDir == "":
		return errors.New("empty StorageDir not valid")
	case c.LocalID == "":
		return errors.New("empty LocalID not valid")
	case c.SnapshotRetention < 0:
		return errors.New("negative SnapshotRetention not valid")
	case c.Transport == nil:
		return errors.New("nil Transport not valid")
	case c.Clock == nil:
		return errors.New("nil Clock not valid")
	case c.Queue == nil:
		return errors.New("nil Queue not valid")
	case c.NewApplier == nil:
		return errors.New("nil NewApplier not valid")
	}
	return nil
}

func (c Config) withDefaults() Config {
	setDefault(&c.NoLeaderTimeout, defaultNoLeaderTimeout)
	setDefault(&c.checkPeriod, min(defaultCheckPeriod, c.NoLeaderTimeout/4))
	setDefault(&c.stallTimeout, defaultStallTimeout)
	setDefault(&c.handoverTimeout, defaultHandoverTimeout)
	setDefault(&c.visitTimeout, defaultVisitTimeout)
	setDefault(&c.stopTimeout, defaultStopTimeout)
	setDefault(&c.writeTimeout, disk.DefaultTimeout)
	setDefault(&c.SnapshotRetention, defaultSnapshotRetention)
	setDefault(&c.logBytes, maxLogBytes)
	if c.Leadership == nil {
		c.Leadership = new(leadership.Tracker)
	}
	if c.Leaving == nil {
		c.Leaving = noReason
	}
	if c.Reluctant == nil {
		c.Reluctant = noReason
	}
	if c.FitMember == nil {
		c.FitMember = func(string) bool { return true }
	}
	if c.FitnessChanged == nil {
		c.FitnessChanged = func() {}
	}
	if c.Observe == nil {
		c.Observe = func(string, string, interrex.RaftEvent) {}
	}
	if c.APIAddress == nil {
		c.APIAddress = func(string) string { return "" }
	}
	if c.Incarnations == nil {
		c.Incarnations = func() map[string]string { return nil }
	}
	return c
}

func noReason() error { return nil }

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// directory returns the configuration of the worker's directory.
func (c Config) directory(synced func(time.Duration)) raftdir.Config {
	var earlier *raftdir.Earlier
	if c.Earlier != nil {
		earlier = &c.Earlier.dir
	}
	return raftdir.Config{
		Logger: hclogger.New("raft", c.Logger), Clock: c.Clock, WriteTimeout: c.writeTimeout,
		NoSync: c.NonSyncedWritesToRaftLog, Synced: synced, Retain: c.SnapshotRetention, SegmentSize: c.segment, Files: c.files, Earlier: earlier,
	}
}

// rules returns the configuration of a life's rules.
func (c Config) rules() raftrules.Config {
	r := raftrules.Config{
		LocalID: c.LocalID, StorageDir: c.StorageDir, Logger: c.Logger, Clock: c.Clock,
		Halted: c.State.Halted, Leaving: c.Leaving, Reluctant: c.Reluctant,
	}
	if c.KnownDisk != nil {
		r.Known = func(peer peering.Hello, vote bool) error {
			return c.KnownDisk(peer.ID, peer.Incarnation, peer.ClusterID, vote)
		}
	}
	return r
}

// founding returns the configuration of the founding of a cluster.
func (c Config) founding() founding.Config {
	return founding.Config{
		LocalID: c.LocalID, State: c.State, Clock: c.Clock, Logger: c.Logger,
		ApplyTimeout: leaseapplier.ApplyTimeout, Bootstrap: c.Bootstrap, Incarnations: c.Incarnations, Charter: c.Charter,
	}
}

// checkAddress checks that raft's address of this agent is its ID: network
// addresses change.
func (c Config) checkAddress(t Transport) error {
	if at := t.LocalAddr(); string(at) != string(c.LocalID) {
		return fmt.Errorf("the transport's address %q is not the agent's ID %q", at, c.LocalID)
	}
	return nil
}
