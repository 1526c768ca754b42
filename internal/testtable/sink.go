package testtable

import (
	"bytes"

	"github.com/hashicorp/raft"
)

// Sink is a raft.SnapshotSink in memory.
type Sink struct {
	bytes.Buffer
	Closed, Cancelled bool
}

// ID is part of raft.SnapshotSink.
func (s *Sink) ID() string { return "in-memory" }

// Close is part of raft.SnapshotSink.
func (s *Sink) Close() error { s.Closed = true; return nil }

// Cancel is part of raft.SnapshotSink.
func (s *Sink) Cancel() error { s.Cancelled = true; return nil }

var _ raft.SnapshotSink = (*Sink)(nil)
