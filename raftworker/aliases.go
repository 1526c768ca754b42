package raftworker

import (
	"github.com/hashicorp/raft"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/leaseapplier"
	"github.com/interrex/interrex/notify"
	"github.com/interrex/interrex/projection"
	"github.com/interrex/interrex/queue"
)

// What is in other folders here and was in Juju's package of this name.
type (
	Applier        = leaseapplier.Applier
	ApplierMetrics = leaseapplier.ApplierMetrics
	LeaseApplier   = leaseapplier.LeaseApplier
	NotLeaderError = leaseapplier.NotLeaderError
	NotifyTarget   = notify.NotifyTarget
	Queue          = leaseapplier.Queue
	Raft           = leaseapplier.Raft
)

// IsNotLeaderError is leaseapplier.IsNotLeaderError.
func IsNotLeaderError(err error) bool { return leaseapplier.IsNotLeaderError(err) }

// NewNotLeaderError is leaseapplier.NewNotLeaderError.
func NewNotLeaderError(serverAddress, serverID string) error {
	return leaseapplier.NewNotLeaderError(serverAddress, serverID)
}

// NewApplier is leaseapplier.NewApplier.
func NewApplier(cfg leaseapplier.Config) (*Applier, error) { return leaseapplier.NewApplier(cfg) }

// NewTarget is notify.NewTarget.
func NewTarget(holders *projection.Holders, logger interrex.Logger) *notify.SQLTarget {
	return notify.NewTarget(holders, logger)
}

// ApplierOf makes the applier of each life of raft out of a template, whose
// Raft and Queue the worker gives: for Config.NewApplier.
func ApplierOf(template leaseapplier.Config) func(*raft.Raft, *queue.Queue) (LeaseApplier, error) {
	return func(r *raft.Raft, q *queue.Queue) (LeaseApplier, error) {
		cfg := template
		cfg.Raft, cfg.Queue = r, q
		a, err := leaseapplier.NewApplier(cfg)
		if err != nil {
			return nil, err
		}
		return a, nil
	}
}
