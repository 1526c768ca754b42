package raftworker

import (
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft-wal/types"
	"github.com/juju/clock"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/interrex/interrex/internal/disk"
	"github.com/interrex/interrex/internal/founding"
	"github.com/interrex/interrex/internal/hclogger"
	"github.com/interrex/interrex/internal/raftdir"
	"github.com/interrex/interrex/internal/raftrules"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/raftworker/leadership"
	"github.com/interrex/interrex/state"
	"github.com/interrex/interrex/transport"
)

// The bounds of a worker's waits.
const (
	// LoopTimeout is how long NewWorker waits for the loop to serve.
	LoopTimeout = time.Minute
	// InitialApplyTimeout is how long the first entry after a start may wait
	// to enter raft, and ApplyTimeout each later one: for an applier's use.
	InitialApplyTimeout = 5 * time.Second
	ApplyTimeout        = 2 * time.Second

	defaultNoLeaderTimeout   = time.Minute
	defaultCheckPeriod       = 10 * time.Second
	defaultStallTimeout      = 10 * time.Second
	defaultHandoverTimeout   = 2 * time.Second
	defaultVisitTimeout      = 10 * time.Second
	defaultStopTimeout       = 10 * time.Second
	defaultSnapshotRetention = 2
)

// Transport is a raft transport for one life of raft. It must keep pre-vote
// (without it, an agent that comes back from a cut ends the leader's term:
// hashicorp/raft#474), which its being in the interface asserts.
//
// Drain returns when no request of another agent is being handled, and none
// will be; Close ends what this agent sends. The worker calls both.
type Transport interface {
	raft.Transport
	raft.WithPreVote
	Drain()
	Close() error
}

// Config is what a Worker needs. It takes no target to notify of leases, as
// Juju's did: every agent publishes events of what it has applied, and a
// target's failure never touches raft.
type Config struct {
	// State is the replicated state, which outlives the worker.
	State *state.State
	// Logger of the worker and of raft.
	Logger Logger
	// StorageDir is the directory of log, vote and snapshots. It is the
	// worker's alone.
	StorageDir string
	// NonSyncedWritesToRaftLog leaves fsync out, with a warning: see
	// NoSyncAfterWrite.
	NonSyncedWritesToRaftLog bool
	// LocalID is the agent's ID, and its address in raft too.
	LocalID raft.ServerID
	// Transport makes the transport of this life of raft, which keeps its rules:
	// TransportOf, for one. The worker closes it.
	Transport func(transport.Life) (Transport, error)
	// Clock is the one of all of the worker's own waits and deadlines.
	Clock clock.Clock
	// Queue is handed to NewApplier; it outlives the worker.
	Queue *queue.Queue
	// NewApplier makes the applier on a raft that has just started. The worker
	// owns it.
	NewApplier func(*raft.Raft, *queue.Queue) (LeaseApplier, error)

	// Leadership is told who leads; nil: nobody is.
	Leadership *leadership.Tracker
	// APIAddress returns the API address of an agent, empty when it is unknown;
	// nil: they all are.
	APIAddress func(id string) string
	// Bootstrap is asked, as long as the log is empty, for the IDs of the
	// first members; false: not yet. An error is logged and asked again. nil:
	// this agent waits until others take it in. BootstrapExpect is one.
	Bootstrap func() (ids []string, decided bool, err error)
	// Incarnations returns the incarnations of the agents that are known, by ID:
	// a new cluster's first entry keeps them. nil: none.
	Incarnations func() map[string]string

	// Leaving says why this agent must not be elected, beside what the worker
	// knows by itself: it stops, for one. Reluctant says why another member had
	// better lead, if one may. They must not block. nil: nothing.
	Leaving, Reluctant func() error
	// FitMember says whether a member may lead, as far as it is known. It must
	// not block. nil: all may.
	FitMember func(id string) bool
	// FitnessChanged is told when others should hear something else of Fitness.
	// It must not block. nil: nobody is told.
	FitnessChanged func()

	// Timing is where a zero timeout below comes from: config.TimingLAN (heartbeat
	// and election 500 ms, leader's lease 250 ms: a killed leader has a successor
	// after about a second) or config.TimingWAN (1 s, 1 s, 500 ms); empty: the first.
	Timing string
	// ElectionTimeout, HeartbeatTimeout and LeaderLeaseTimeout are raft's;
	// zero: that of Timing. The lease must be shorter than the heartbeat.
	ElectionTimeout    time.Duration
	HeartbeatTimeout   time.Duration
	LeaderLeaseTimeout time.Duration
	// SnapshotInterval is how often it is checked whether a snapshot is due,
	// and SnapshotThreshold how many entries make it due; zero: 2 m and 8192.
	SnapshotInterval  time.Duration
	SnapshotThreshold uint64
	// SnapshotRetention is how many snapshots are kept; zero: 2.
	SnapshotRetention int
	// NoLeaderTimeout is how long the worker goes on without hearing of a
	// leader; zero: 1 m.
	NoLeaderTimeout time.Duration

	// PrometheusRegisterer takes the worker's metrics; nil: nobody does.
	// hashicorp's own metrics are global to a process and are not touched.
	PrometheusRegisterer prometheus.Registerer

	// Earlier is what earlier lives of raft in this process know of StorageDir, and
	// what this one adds; nil: this is the first.
	Earlier *Earlier

	checkPeriod     time.Duration // between two looks for a leader; zero: a quarter of NoLeaderTimeout, at most 10 s
	stallTimeout    time.Duration // how long a leader with entries under way may commit none before it hands over; zero: 10 s
	writeTimeout    time.Duration // of a write to the disk; zero: 5 s
	handoverTimeout time.Duration // of each of the last stamp and the transfer at a stop; zero: 2 s
	visitTimeout    time.Duration // of the wait for visitors at a stop; zero: 10 s
	stopTimeout     time.Duration // of the wait for raft itself at a stop; zero: 10 s
	logBytes        int64         // of the log before a snapshot is made for that; zero: maxLogBytes

	segment int       // bytes of a file of the log; 0: raftlog.DefaultSegmentSize
	files   types.VFS // under the log; nil: this machine's
}

// Earlier is what lives of raft in one process, one after the other, know of their
// StorageDir: one that was removed meanwhile is not begun anew. The zero value knows
// of none.
type Earlier struct{ dir raftdir.Earlier }

// Validate says what is missing, in a fixed order.
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

// directory is the configuration of the worker's directory.
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

// rules are what those of a life go by.
func (c Config) rules() raftrules.Config {
	return raftrules.Config{
		LocalID: c.LocalID, StorageDir: c.StorageDir, Logger: c.Logger, Clock: c.Clock,
		Halted: c.State.Halted, Leaving: c.Leaving, Reluctant: c.Reluctant,
	}
}

// founding is what the founding of a cluster goes by.
func (c Config) founding() founding.Config {
	return founding.Config{
		LocalID: c.LocalID, State: c.State, Clock: c.Clock, Logger: c.Logger,
		ApplyTimeout: ApplyTimeout, Bootstrap: c.Bootstrap, Incarnations: c.Incarnations,
	}
}

// checkAddress holds that raft's address of an agent is its ID, whatever its
// network address is today.
func (c Config) checkAddress(t Transport) error {
	if at := t.LocalAddr(); string(at) != string(c.LocalID) {
		return fmt.Errorf("the transport's address %q is not the agent's ID %q", at, c.LocalID)
	}
	return nil
}
