package raftworker

import "github.com/interrex/interrex/leaseapplier"

// The applier's names, for users of Juju's package of this name: here it has a
// package of its own, leaseapplier.
type (
	Applier        = leaseapplier.Applier
	ApplierMetrics = leaseapplier.ApplierMetrics
	LeaseApplier   = leaseapplier.LeaseApplier
	Queue          = leaseapplier.Queue
	Raft           = leaseapplier.Raft
)

// NewApplier is leaseapplier.NewApplier.
func NewApplier(cfg leaseapplier.Config) (*Applier, error) { return leaseapplier.NewApplier(cfg) }
