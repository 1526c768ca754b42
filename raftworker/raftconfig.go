package raftworker

import (
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/hclogger"
)

// MinTrailingLogs is the least number of entries that stay in the log behind a
// snapshot. With fewer than a snapshot's threshold, a follower that lags a
// little can need a snapshot again and again (hashicorp/raft#697).
const MinTrailingLogs = 10240

// timeouts returns a timing's heartbeat and election timeout, and its lease.
// Pre-vote keeps an agent that only missed some heartbeats from ending a term, so
// that times as short as those of TimingLAN are safe. Those of TimingWAN are
// hashicorp's.
func timeouts(timing string) (heartbeat, lease time.Duration, err error) {
	switch timing {
	case "", config.TimingLAN:
		return 500 * time.Millisecond, 250 * time.Millisecond, nil
	case config.TimingWAN:
		return time.Second, 500 * time.Millisecond, nil
	}
	return 0, 0, fmt.Errorf("timing %q is neither %q nor %q", timing, config.TimingLAN, config.TimingWAN)
}

// NewRaftConfig makes raft's configuration out of the worker's, checked. It
// looks at LocalID, Logger, the timeouts and the snapshots' fields alone.
func NewRaftConfig(cfg Config) (*raft.Config, error) {
	rc := raft.DefaultConfig()
	rc.ProtocolVersion = 3
	rc.LocalID = cfg.LocalID
	// Raft would also stop a leader that is only demoted.
	rc.ShutdownOnRemove = false
	rc.NoLegacyTelemetry = true
	rc.PreVoteDisabled = false
	if cfg.Logger != nil {
		rc.Logger = hclogger.New("raft", cfg.Logger)
	}
	rc.TrailingLogs = MinTrailingLogs
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
	// A leader that hears of nobody must give up before a follower that hears
	// nothing of it may lead; raft itself allows the two to be equal.
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
