package storage

import (
	"context"
	"net"

	"github.com/interrex/interrex"
)

// Handle is what a Backend needs of the replicated log that it stands on: an
// agent's (see Through), or somebody else's raft.
type Handle interface {
	// Apply puts msg through the log, and returns what Backend.Apply has returned
	// for it here. An error value that Backend.Apply has returned is its error.
	Apply(msg []byte) (any, error)
	// IsLeader reports whether this replica leads.
	IsLeader() bool
	// EnsureStrongConsistency returns once this replica leads, as a quorum has
	// confirmed, and has applied everything that was committed before the call.
	EnsureStrongConsistency(ctx context.Context) error
	// DialLeader opens a connection to the leader, whose Backend gets it by
	// HandleConnection. Encryption is its business. Its error says that no leader
	// is known, or that it cannot be reached.
	DialLeader(ctx context.Context) (net.Conn, error)
}

// Through is the Handle of an agent, or of a client of agents: everything goes
// by its Resources, which find the leader by themselves. Through(nil) is nil.
func Through(resources interrex.Resources) Handle {
	if resources == nil {
		return nil
	}
	return through{resources}
}

type through struct{ interrex.Resources }

func errThrough() error {
	return interrex.Errorf(interrex.KindDisabled, "storage: the agent's resources have a log of their own, and find the leader by themselves")
}

func (through) Apply([]byte) (any, error)                     { return nil, errThrough() }
func (through) IsLeader() bool                                { return false }
func (through) EnsureStrongConsistency(context.Context) error { return errThrough() }
func (through) DialLeader(context.Context) (net.Conn, error)  { return nil, errThrough() }
