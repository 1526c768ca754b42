package leaseapplier

import (
	"time"

	"github.com/hashicorp/raft"
	"github.com/juju/clock"
	"github.com/juju/errors"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/state"
)

// The defaults of a Config.
const (
	DefaultMaxInFlight         = 4
	DefaultInitialApplyTimeout = 5 * time.Second
	DefaultApplyTimeout        = 2 * time.Second
	DefaultAnswerTimeout       = 10 * time.Second
	DefaultDrainTimeout        = 200 * time.Millisecond
	DefaultStuckAfter          = 30 * time.Second
)

// Raft is what the Applier needs of a *raft.Raft.
type Raft interface {
	State() raft.RaftState
	LeaderWithID() (raft.ServerAddress, raft.ServerID)
	CurrentTerm() uint64
	Apply(cmd []byte, timeout time.Duration) raft.ApplyFuture
	Barrier(timeout time.Duration) raft.Future
}

// Queue is what the Applier needs of a *queue.Queue.
type Queue interface {
	Ready() <-chan struct{}
	Take(maxOps, maxBytes int) []*queue.Operation
	Depth() (normal, extend int)
}

// State is what the Applier needs of a *state.State.
type State interface {
	Now() state.Time
	Due() (state.Time, bool)
	Recorded(*state.Operation) (state.Result, bool)
	Passed(index uint64)
	// Waitable is the table whose operations may wait; nil: nothing waits.
	Waitable() state.Waitable
}

// ApplierMetrics takes the Applier's figures. Metrics is the one for
// Prometheus. It is called from several goroutines and must not block.
type ApplierMetrics interface {
	// Record takes the time since start of one entry: "success" or "failure".
	Record(start time.Time, result string)
	// RecordLeaderError takes operations that were refused since start because
	// this agent does not lead.
	RecordLeaderError(start time.Time)
	// RecordBatch takes the number of operations of one entry.
	RecordBatch(operations int)
	// RecordOperation takes the answer of one operation.
	RecordOperation(*queue.Operation, *state.Result)
	// RecordWaiters takes the number of claims that wait.
	RecordWaiters(n int)
}

// Config says what an Applier works with.
//
// There is no NotifyTarget: what a change means for others is an event of the
// replicated state, which workers of their own follow, so that a target that
// fails or is slow never holds up the log.
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
	// EntryVersion returns the newest version of a log entry that every member
	// knows. nil: all know this build's.
	EntryVersion func() byte

	// MaxInFlight is how many entries may be in the log unanswered while more
	// than a batch waits; 0: DefaultMaxInFlight. Below that load it is one.
	MaxInFlight int
	// InitialApplyTimeout is how long raft may take to accept the first entry
	// of a term; 0: DefaultInitialApplyTimeout.
	InitialApplyTimeout time.Duration
	// ApplyTimeout is the same for every later entry; 0: DefaultApplyTimeout.
	ApplyTimeout time.Duration
	// AnswerTimeout is how long an accepted entry may go without an answer
	// until its callers are told that the outcome is unknown: raft itself may
	// never answer (hashicorp/raft#145). 0: DefaultAnswerTimeout.
	AnswerTimeout time.Duration
	// DrainTimeout is how long a stop waits for the entries in flight; 0:
	// DefaultDrainTimeout.
	DrainTimeout time.Duration
	// StuckAfter is how long raft may answer "leadership transfer in progress"
	// before the Applier ends with ErrTransferStuck; 0: DefaultStuckAfter.
	StuckAfter time.Duration
}

// Validate says which field cannot be used, as a juju NotValid error.
func (c Config) Validate() error {
	switch {
	case c.Raft == nil:
		return errors.NotValidf("nil Raft")
	case c.Queue == nil:
		return errors.NotValidf("nil Queue")
	case c.State == nil:
		return errors.NotValidf("nil State")
	case c.Clock == nil:
		return errors.NotValidf("nil Clock")
	case c.Logger == nil:
		return errors.NotValidf("nil Logger")
	case c.MaxInFlight < 0:
		return errors.NotValidf("negative MaxInFlight")
	}
	for _, d := range c.timeouts() {
		if *d.field < 0 {
			return errors.NotValidf("negative %s", d.name)
		}
	}
	return nil
}

func (c *Config) setDefaults() {
	if c.MaxInFlight == 0 {
		c.MaxInFlight = DefaultMaxInFlight
	}
	if c.Metrics == nil {
		c.Metrics = noMetrics{}
	}
	if c.Address == nil {
		c.Address = func(string) string { return "" }
	}
	if c.EntryVersion == nil {
		c.EntryVersion = func() byte { return state.EntryVersion }
	}
	for _, d := range c.timeouts() {
		if *d.field == 0 {
			*d.field = d.preset
		}
	}
}

type timeout struct {
	name   string
	field  *time.Duration
	preset time.Duration
}

func (c *Config) timeouts() []timeout {
	return []timeout{
		{"InitialApplyTimeout", &c.InitialApplyTimeout, DefaultInitialApplyTimeout},
		{"ApplyTimeout", &c.ApplyTimeout, DefaultApplyTimeout},
		{"AnswerTimeout", &c.AnswerTimeout, DefaultAnswerTimeout},
		{"DrainTimeout", &c.DrainTimeout, DefaultDrainTimeout},
		{"StuckAfter", &c.StuckAfter, DefaultStuckAfter},
	}
}
