package raftworker

import (
	"io"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex/raftdir"
)

// cutOff is the replicated state as one life of raft sees it: once its disk has
// failed, nothing of that life reaches the state any more.
type cutOff struct {
	raft.ConfigurationStore
	dir        *raftdir.Directory
	unrestored error // of the first snapshot that could not be restored
}

// Apply implements raft.FSM. The answer is an error once the disk has failed.
func (c *cutOff) Apply(entry *raft.Log) any {
	if err := c.dir.Failure(); err != nil {
		return err
	}
	return c.ConfigurationStore.Apply(entry)
}

// StoreConfiguration implements raft.ConfigurationStore.
func (c *cutOff) StoreConfiguration(index uint64, members raft.Configuration) {
	if c.dir.Failure() == nil {
		c.ConfigurationStore.StoreConfiguration(index, members)
	}
}

// Snapshot implements raft.FSM.
func (c *cutOff) Snapshot() (raft.FSMSnapshot, error) {
	if err := c.dir.Failure(); err != nil {
		return nil, err
	}
	return c.ConfigurationStore.Snapshot()
}

// Restore implements raft.FSM.
func (c *cutOff) Restore(snapshot io.ReadCloser) error {
	if err := c.dir.Failure(); err != nil {
		return err
	}
	err := c.ConfigurationStore.Restore(snapshot)
	if c.unrestored == nil {
		c.unrestored = err
	}
	return err
}
