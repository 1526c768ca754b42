// Package testreplica owns a replicated state that a test drives as raft would.
package testreplica

import (
	"bytes"
	"io"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/testtable"
	"github.com/interrex/interrex/state"
)

// Replica is a state that a test drives as raft would, with everything that it
// publishes.
type Replica struct {
	State  *machine.State
	Events []state.Event     // all that were published
	Last   interrex.Revision // that was published with them
	Resets int
	Ended  interrex.Revision // the newest restore of a file

	t      testing.TB
	tables func() []state.Table
	index  uint64
}

// New returns a replica. The function makes its tables, again for each
// restart.
func New(t testing.TB, tables func() []state.Table) *Replica {
	t.Helper()
	r := &Replica{t: t, tables: tables}
	r.start()
	t.Cleanup(func() { r.State.Close() })
	return r
}

func (r *Replica) start() {
	r.t.Helper()
	s, err := machine.New(machine.Config{Tables: r.tables(), Publisher: r})
	if err != nil {
		r.t.Fatalf("cannot make a state: %v", err)
	}
	r.State = s
}

// Publish is part of machine.Publisher.
func (r *Replica) Publish(events []state.Event, last interrex.Revision) {
	r.Events, r.Last = append(r.Events, events...), last
}

// Reset is part of machine.Publisher.
func (r *Replica) Reset(last, ended interrex.Revision) {
	r.Resets, r.Last, r.Ended = r.Resets+1, last, ended
}

// Apply applies one entry, and returns its results.
func (r *Replica) Apply(e *machine.Entry) []state.Result {
	r.t.Helper()
	return r.ApplyBytes(e.Append(nil))
}

// ApplyBytes applies one encoded entry, and returns its results.
func (r *Replica) ApplyBytes(b []byte) []state.Result {
	r.t.Helper()
	r.index++
	results, _ := r.State.Apply(&raft.Log{Type: raft.LogCommand, Index: r.index, Term: 1, Data: b}).([]state.Result)
	return results
}

// Do applies an entry of these operations at the given time.
func (r *Replica) Do(now state.Time, ops ...state.Operation) []state.Result {
	r.t.Helper()
	return r.Apply(&machine.Entry{Stamp: now, Wall: Wall(now), Operations: ops})
}

// OpenName opens a name for request ids, and returns it.
func (r *Replica) OpenName(caller string, bits uint64) string {
	r.t.Helper()
	results := r.Do(r.State.Now(), state.Operation{Table: machine.SystemTable, Caller: caller, Data: (&machine.OpenName{Bits: bits}).Append(nil)})
	if len(results) != 1 || results[0].Err != nil {
		r.t.Fatalf("cannot open a name: %+v, halted: %v", results, r.State.Halted())
	}
	return results[0].Reply.(*machine.OpenedName).Name
}

// Wall returns the leader's wall clock for a cluster time.
func Wall(now state.Time) time.Time {
	return time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(now))
}

// Snapshot returns a snapshot of the current state.
func (r *Replica) Snapshot() []byte {
	r.t.Helper()
	f, err := r.State.Snapshot()
	if err != nil {
		r.t.Fatalf("cannot make a snapshot: %v", err)
	}
	defer f.Release()
	var sink testtable.Sink
	if err := f.Persist(&sink); err != nil {
		r.t.Fatalf("cannot write a snapshot: %v", err)
	}
	return sink.Bytes()
}

// Restart replaces the state by a new one, restored from a snapshot.
func (r *Replica) Restart() {
	r.t.Helper()
	b := r.Snapshot()
	r.State.Close()
	r.start()
	if err := r.Restore(b); err != nil {
		r.t.Fatalf("cannot restart: %v", err)
	}
}

// Restore restores a snapshot; further entries follow it.
func (r *Replica) Restore(snapshot []byte) error {
	err := r.State.Restore(io.NopCloser(bytes.NewReader(snapshot)))
	applied, _ := r.State.Applied()
	r.index = max(r.index, applied)
	return err
}

var _ machine.Publisher = (*Replica)(nil)
