package leaseapplier

import (
	"errors"
	"time"

	"github.com/hashicorp/raft"
	"github.com/juju/clock"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/state"
)

// How long raft may take to accept an entry: the first one of a term, and each
// later one.
const (
	InitialApplyTimeout = 5 * time.Second
	ApplyTimeout        = 2 * time.Second
)

const (
	// maxInFlight is how many entries may be in flight while more than a batch
	// waits. Below that load it is one.
	maxInFlight = 4
	// answerTimeout is how long an accepted entry may remain unanswered before its
	// callers are answered that the outcome is unknown: raft itself may never
	// answer (hashicorp/raft#145).
	answerTimeout = 10 * time.Second
	// drainTimeout is how long Kill waits for the entries in flight.
	drainTimeout = 200 * time.Millisecond
	// stuckAfter is how long raft may return "leadership transfer in progress"
	// before the Applier ends with errTransferStuck.
	stuckAfter = 30 * time.Second
)

// Raft is the part of a *raft.Raft that the Applier uses.
type Raft interface {
	State() raft.RaftState
	LeaderWithID() (raft.ServerAddress, raft.ServerID)
	CurrentTerm() uint64
	Apply(cmd []byte, timeout time.Duration) raft.ApplyFuture
	Barrier(timeout time.Duration) raft.Future
}

// Queue is the part of a *queue.Queue that the Applier uses.
type Queue interface {
	Ready() <-chan struct{}
	Take(maxOps, maxBytes int) []*queue.Operation
	Depth() (normal, extend int)
}

// State is the part of the replicated state that the Applier uses.
type State interface {
	Now() state.Time
	// Due returns the earliest cluster time at which something ends; false: nothing
	// does.
	Due() (state.Time, bool)
	Recorded(*state.Operation) (state.Result, bool)
	Over(*state.Operation, state.Command) (state.Result, bool)
	DroppedNames() uint64
	Passed(index uint64)
	// Waitable returns the table whose operations may wait; nil: none may.
	Waitable() state.Waitable
}

// ApplierMetrics records the Applier's metrics. It is called from several goroutines and must not block.
type ApplierMetrics interface {
	// Record records the time since start of one entry: "success" or "failure".
	Record(start time.Time, result string)
	// RecordLeaderError records that operations were refused since start because
	// this agent does not lead.
	RecordLeaderError(start time.Time)
	// RecordBatch records the number of operations of one entry.
	RecordBatch(operations int)
	// RecordOperation records the answer of one operation.
	RecordOperation(*queue.Operation, *state.Result)
	// RecordWaiters records the number of claims that wait.
	RecordWaiters(n int)
}

// Config is the configuration of an Applier.
//
// There is no NotifyTarget as in Juju: changes are events of the replicated state,
// which separate workers follow, so that a target that fails or is slow never delays
// the log.
type Config struct {
	Raft   Raft
	Queue  Queue
	State  State
	Clock  clock.Clock
	Logger interrex.Logger

	// Metrics is optional.
	Metrics ApplierMetrics
	// Address returns the API address of an agent, "" when unknown. Optional.
	Address func(id string) string
	// EntryVersion returns the newest version of log entries that every member
	// knows. nil: all know this build's.
	EntryVersion func() byte
}

// Validate returns an error for the first field that is missing.
func (c Config) Validate() error {
	switch {
	case c.Raft == nil:
		return errors.New("nil Raft not valid")
	case c.Queue == nil:
		return errors.New("nil Queue not valid")
	case c.State == nil:
		return errors.New("nil State not valid")
	case c.Clock == nil:
		return errors.New("nil Clock not valid")
	case c.Logger == nil:
		return errors.New("nil Logger not valid")
	}
	return nil
}

func (c *Config) setDefaults() {
	if c.Metrics == nil {
		c.Metrics = noMetrics{}
	}
	if c.Address == nil {
		c.Address = func(string) string { return "" }
	}
	if c.EntryVersion == nil {
		c.EntryVersion = func() byte { return machine.EntryVersion }
	}
}

// errNotLeader returns a NotLeaderError with the leader, if it is known.
func (c *Config) errNotLeader() error {
	_, id := c.Raft.LeaderWithID()
	if id == "" {
		return NewNotLeaderError("", "")
	}
	return NewNotLeaderError(c.Address(string(id)), string(id))
}

// translate returns raft's error with a kind: that nothing has happened, or that the
// outcome is unknown.
func (c *Config) translate(err error) error {
	switch {
	case errors.Is(err, raft.ErrNotLeader):
		return c.errNotLeader()
	case errors.Is(err, raft.ErrEnqueueTimeout):
		return errEnqueueTimeout(err)
	case isTransfer(err):
		return errTransfer(err)
	}
	return errUnknown(err.Error(), err)
}

// noMetrics is used when Config.Metrics is nil.
type noMetrics struct{}

func (noMetrics) Record(time.Time, string)                        {}
func (noMetrics) RecordLeaderError(time.Time)                     {}
func (noMetrics) RecordBatch(int)                                 {}
func (noMetrics) RecordOperation(*queue.Operation, *state.Result) {}
func (noMetrics) RecordWaiters(int)                               {}
