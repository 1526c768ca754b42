package interrex

import (
	"context"
	"io"
	"time"
)

// Snapshots are copies of the replicated state outside of the cluster. They are for
// operators: a copy has webhooks with their secrets, and the hashes of tokens.
type Snapshots interface {
	// Save writes a snapshot, as one agent has it, to w. The default is a strong
	// snapshot, which has everything that was committed before the call. What was written
	// is whole and undamaged if there is no error, and of no use otherwise. An error of w
	// is returned as it is.
	Save(ctx context.Context, w io.Writer, o ReadOptions) (Snapshot, error)
	// Restore replaces resources, changes, webhooks, settings and the tables of embedders
	// by those of a saved snapshot, and returns the revision at which it did; leases,
	// members and tokens stay, and all watches end. It sends the snapshot in parts, which
	// change nothing yet: if it fails, nothing has changed, unless the error is
	// ErrOutcomeUnknown. What can be read twice is verified first. sent, which may be nil,
	// is called with the number of bytes sent so far.
	Restore(ctx context.Context, r io.Reader, sent func(bytes int64)) (Revision, error)
}

// Snapshot says what a saved snapshot shows.
type Snapshot struct {
	ClusterID   string // empty: the cluster had none yet
	Epoch       uint64
	LogIndex    uint64 // it has everything up to this entry
	Term        uint64 // of that entry
	Revision    Revision
	ClusterTime time.Duration // the cluster's time at that entry
	AgentID     string        // of the agent that has sent it; empty: it was read from a file
	MadeAt      time.Time     // by that agent's clock
	Consistency Consistency   // how that agent was read
	Bytes       int64
}
