package statetest

import (
	"testing"

	"github.com/interrex/interrex/internal/testreplica"
	"github.com/interrex/interrex/state"
)

// Replica is a replicated state that a test drives as raft would, one entry at a time.
type Replica struct{ replica *testreplica.Replica }

// NewReplica returns a replica. The function makes its tables, again for each
// restart.
func NewReplica(t testing.TB, tables func() []state.Table) *Replica {
	t.Helper()
	return &Replica{testreplica.New(t, tables)}
}

// Do applies an entry of these operations at the given time, and returns their
// results.
func (r *Replica) Do(now state.Time, ops ...state.Operation) []state.Result {
	return r.replica.Do(now, ops...)
}

// State returns what a table's service may read.
func (r *Replica) State() state.State { return r.replica.State }

// Events returns all events that were published, in order.
func (r *Replica) Events() []state.Event { return r.replica.Events }

// Halted returns why a table has stopped the state, as by a panic; nil: it goes on.
func (r *Replica) Halted() error { return r.replica.State.Halted() }

// Restart replaces the tables by new ones, restored from a snapshot.
func (r *Replica) Restart() { r.replica.Restart() }
