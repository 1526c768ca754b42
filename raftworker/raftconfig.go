package raftworker

import (
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex/internal/hclogger"
	"github.com/interrex/interrex/internal/limits"
)

// The timings.
const (
	timingLAN = "lan"
	timingWAN = "wan"
)

// timeouts returns a timing's heartbeat timeout, which is also its election
// timeout, and its leader's lease. Pre-vote keeps an agent that only missed some
// heartbeats from ending a term, so timeouts as short as those of lan are safe: with
// them half of all killed leaders have a successor within 700 ms. The lease tolerates as
// long a pause of the leader as is shorter than the heartbeat.
// Those of wan are hashicorp's.
func timeouts(timing string) (heartbeat, lease time.Duration, err error) {
	switch timing {
	case "", timingLAN:
		return 300 * time.Millisecond, 250 * time.Millisecond, nil
	case timingWAN:
		return time.Second, 500 * time.Millisecond, nil
	}
	return 0, 0, fmt.Errorf("timing %q is not valid: use %q or %q", timing, timingLAN, timingWAN)
}

// NewRaftConfig returns raft's configuration for the worker's, validated. It uses
// only LocalID, Logger, the timeouts and the snapshots' fields.
func NewRaftConfig(cfg Config) (*raft.Config, error) {
	rc := raft.DefaultConfig()
	rc.ProtocolVersion = 3
	rc.LocalID = cfg.LocalID
	// With it raft would also stop a leader that is only demoted.
	rc.ShutdownOnRemove = false
	rc.NoLegacyTelemetry = true
	rc.PreVoteDisabled = false
	if cfg.Logger != nil {
		rc.Logger = hclogger.New("raft", cfg.Logger)
	}
	rc.TrailingLogs = limits.MinTrailingLogs
	overrideIf(&rc.SnapshotInterval, cfg.SnapshotInterval)
	overrideIf(&rc.SnapshotThreshold, cfg.SnapshotThreshold)
	if err := setTimeouts(rc, cfg); err != nil {
		return nil, fmt.Errorf("validating raft config: %w", err)
	}
	return rc, nil
}

func setTimeouts(rc *raft.Config, cfg Config) error {
	heartbeat, lease, err := timeouts(cfg.Timing)
	if err != nil {
		return err
	}
	rc.HeartbeatTimeout, rc.ElectionTimeout, rc.LeaderLeaseTimeout = heartbeat, heartbeat, lease
	overrideIf(&rc.HeartbeatTimeout, cfg.HeartbeatTimeout)
	overrideIf(&rc.ElectionTimeout, cfg.ElectionTimeout)
	overrideIf(&rc.LeaderLeaseTimeout, cfg.LeaderLeaseTimeout)
	if err := raft.ValidateConfig(rc); err != nil {
		return err
	}
	// A leader without contact must step down before a follower without contact
	// may lead; raft itself allows the two to be equal.
	if rc.LeaderLeaseTimeout >= rc.HeartbeatTimeout {
		return fmt.Errorf("LeaderLeaseTimeout (%s) must be shorter than HeartbeatTimeout (%s): set both", rc.LeaderLeaseTimeout, rc.HeartbeatTimeout)
	}
	return nil
}

func overrideIf[T comparable](field *T, value T) {
	var zero T
	if value != zero {
		*field = value
	}
}
