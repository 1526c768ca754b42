package raftrules

import (
	"io"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex/internal/raftdir"
)

// Replica is the replicated state for one life of raft: once that life's disk has
// failed, none of its entries reaches the state.
type Replica struct {
	raft.ConfigurationStore
	dir        *raftdir.Directory
	stored     func()
	unrestored error // why the first snapshot that could not be restored was not
}

// NewReplica returns the state for a life of raft on a directory. stored is called when
// a configuration of members was committed, and must not block.
func NewReplica(state raft.ConfigurationStore, dir *raftdir.Directory, stored func()) *Replica {
	return &Replica{ConfigurationStore: state, dir: dir, stored: stored}
}

// Unrestored returns the error of the first snapshot that could not be restored;
// nil: there was none.
func (r *Replica) Unrestored() error { return r.unrestored }

// Apply implements raft.FSM. It returns an error once the disk has failed.
func (r *Replica) Apply(entry *raft.Log) any {
	if err := r.dir.Failure(); err != nil {
		return err
	}
	return r.ConfigurationStore.Apply(entry)
}

// StoreConfiguration implements raft.ConfigurationStore.
func (r *Replica) StoreConfiguration(index uint64, members raft.Configuration) {
	if r.dir.Failure() == nil {
		r.ConfigurationStore.StoreConfiguration(index, members)
		r.stored()
	}
}

// Snapshot implements raft.FSM.
func (r *Replica) Snapshot() (raft.FSMSnapshot, error) {
	if err := r.dir.Failure(); err != nil {
		return nil, err
	}
	return r.ConfigurationStore.Snapshot()
}

// Restore implements raft.FSM.
func (r *Replica) Restore(snapshot io.ReadCloser) error {
	if err := r.dir.Failure(); err != nil {
		return err
	}
	err := r.ConfigurationStore.Restore(snapshot)
	if r.unrestored == nil {
		r.unrestored = err
	}
	return err
}
