package backstop

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/raft"
	"github.com/juju/clock"

	"github.com/interrex/interrex"
)

// Sight is what this agent sees of its cluster.
type Sight struct {
	Leader  string // empty: none is known
	Members raft.Configuration
}

// Config is the configuration of a Worker.
type Config struct {
	ID string // of this agent
	// Look returns what this agent sees; false while raft does not run. It must not
	// block.
	Look func() (Sight, bool)
	// Wanted returns the IDs of the agents that the cluster is meant to have now; none:
	// nobody says. It must not block.
	Wanted func() []string
	// Off returns nil if the machine of an agent is off, and otherwise why that is not
	// known. It returns soon after ctx ends. nil: nobody can tell.
	Off func(ctx context.Context, id string) error
	// Absent dials every other agent, and returns nil if none responds. It returns soon
	// after ctx ends.
	Absent func(ctx context.Context) error
	// Recover has the cluster recovered from this agent, which ends the worker. It must
	// not block.
	Recover func()
	Clock   clock.Clock
	Logger  interrex.Logger
}

const (
	// every is the pause between two looks.
	every = 5 * time.Second
	// Looks is how many looks in a row must come to the same result.
	Looks = 5
	// lookTimeout bounds the calls of one look.
	lookTimeout = 2 * time.Minute
)

// Validate returns an error for the first field that is not valid.
func (c Config) Validate() error {
	switch {
	case c.ID == "":
		return errors.New("empty ID not valid")
	case c.Look == nil:
		return errors.New("nil Look not valid")
	case c.Wanted == nil:
		return errors.New("nil Wanted not valid")
	case c.Absent == nil:
		return errors.New("nil Absent not valid")
	case c.Recover == nil:
		return errors.New("nil Recover not valid")
	case c.Clock == nil:
		return errors.New("nil Clock not valid")
	case c.Logger == nil:
		return errors.New("nil Logger not valid")
	}
	return nil
}
