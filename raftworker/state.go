package raftworker

import (
	"github.com/hashicorp/raft"
	"github.com/juju/clock"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/leaseapplier"
	"github.com/interrex/interrex/state"
)

// State is the replicated state that raft's log is applied to, and the part of it that
// a leaseapplier.Applier uses. It outlives the lives of raft.
type State interface {
	raft.ConfigurationStore
	leaseapplier.State
	// Applied returns the log index and term of the last entry that is in the state.
	Applied() (index, term uint64)
	// ClusterID returns the ID of the cluster that it belongs to; empty: of none yet.
	ClusterID() string
	// Halted returns why it applies no entries any more; nil: it does.
	Halted() error
}

// NewState returns an empty state of these tables, which must be empty, and belong to it
// from now on. The clock is for estimates of cluster time; nil: the wall clock. logger may
// be nil.
func NewState(tables []state.Table, c clock.Clock, logger interrex.Logger) (State, error) {
	s, err := machine.New(machine.Config{Tables: tables, Clock: c, Logger: logger})
	if err != nil {
		return nil, err
	}
	return s, nil
}
