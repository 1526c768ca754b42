package raftworker

import "github.com/interrex/interrex/leaseapplier"

// The applier, which is in a folder of its own here and was in Juju's package of
// this name.
type (
	Applier        = leaseapplier.Applier
	ApplierMetrics = leaseapplier.ApplierMetrics
	LeaseApplier   = leaseapplier.LeaseApplier
	Queue          = leaseapplier.Queue
	Raft           = leaseapplier.Raft
)

// NewApplier is leaseapplier.NewApplier.
func NewApplier(cfg leaseapplier.Config) (*Applier, error) { return leaseapplier.NewApplier(cfg) }
