package reads

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/raft"
	"github.com/juju/clock"

	"github.com/interrex/interrex"
)

// DefaultTimeout bounds a round if Config.Timeout is zero. A leader without a quorum
// steps down long before it.
const DefaultTimeout = 3 * time.Second

// Raft is the part of a *raft.Raft that a round uses.
type Raft interface {
	State() raft.RaftState
	CurrentTerm() uint64
	CommitIndex() uint64
	GetConfiguration() raft.ConfigurationFuture
	// VerifyLeader is used to send heartbeats at once. Its result is ignored,
	// because it counts answers to heartbeats that were sent before it was called.
	VerifyLeader() raft.Future
}

// Acks reports which peers have answered; *transport.RaftTransport is one.
type Acks interface {
	// LastAck returns when the newest AppendEntries request that a peer has answered
	// in the request's term was sent, and that term.
	LastAck(peer raft.ServerID) (sent time.Time, term uint64)
	// AckChanged returns a channel that is closed at the next change.
	AckChanged() <-chan struct{}
}

// State is the part of the replicated state that a read uses.
type State interface {
	// WaitApplied returns when the entry at index has been applied here.
	WaitApplied(ctx context.Context, index uint64) error
}

// Config is the configuration of Rounds.
type Config struct {
	ID    string // this agent's
	Raft  Raft
	Acks  Acks
	State State

	// ReadyTerm returns the term in which this agent, as leader, has applied an
	// entry of its own; 0: there is none. Until then a leader does not know what
	// its predecessors have committed (Raft thesis, section 6.4).
	ReadyTerm func() uint64

	Clock  clock.Clock // the clock of Acks' times
	Logger interrex.Logger

	// Timeout bounds a round, and the wait of each reader for its round; zero:
	// DefaultTimeout.
	Timeout time.Duration
}

// Validate returns an error for the first field that is not valid.
func (c Config) Validate() error {
	switch {
	case c.ID == "":
		return errors.New("empty ID not valid")
	case c.Raft == nil:
		return errors.New("nil Raft not valid")
	case c.Acks == nil:
		return errors.New("nil Acks not valid")
	case c.State == nil:
		return errors.New("nil State not valid")
	case c.ReadyTerm == nil:
		return errors.New("nil ReadyTerm not valid")
	case c.Clock == nil:
		return errors.New("nil Clock not valid")
	case c.Logger == nil:
		return errors.New("nil Logger not valid")
	case c.Timeout < 0:
		return errors.New("negative Timeout not valid")
	}
	return nil
}
