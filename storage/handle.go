package storage

import (
	"context"
	"net"

	"github.com/interrex/interrex"
)

// Handle is what a Backend needs of its replicated log: an agent's (see Through),
// or another raft.
type Handle interface {
	// Apply appends msg to the log, and returns the result of Backend.Apply on this
	// replica; if that is an error, as its error.
	Apply(msg []byte) (any, error)
	// IsLeader reports whether this replica leads.
	IsLeader() bool
	// EnsureStrongConsistency returns once this replica leads, as a quorum has
	// confirmed, and has applied everything that was committed before the call.
	EnsureStrongConsistency(ctx context.Context) error
	// DialLeader opens a connection to the leader, whose Backend gets it by
	// HandleConnection. It is responsible for encryption. The error says that no
	// leader is known, or that it cannot be reached.
	DialLeader(ctx context.Context) (net.Conn, error)
}

// Through returns the Handle of an agent, or of a client of agents: everything
// goes through its Resources, which find the leader. Through(nil) is nil.
func Through(resources interrex.Resources) Handle {
	if resources == nil {
		return nil
	}
	return through{resources}
}

type through struct{ interrex.Resources }

func errThrough() error {
	return interrex.Errorf(interrex.ErrDisabled, "storage: an agent's resources have their own log, and find the leader themselves")
}

func (through) Apply([]byte) (any, error)                     { return nil, errThrough() }
func (through) IsLeader() bool                                { return false }
func (through) EnsureStrongConsistency(context.Context) error { return errThrough() }
func (through) DialLeader(context.Context) (net.Conn, error)  { return nil, errThrough() }
