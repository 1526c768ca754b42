package raftworker

import (
	"fmt"

	"github.com/hashicorp/raft"
)

// Reload sets in the running raft the timeouts and snapshot settings of another
// configuration, without a restart: HeartbeatTimeout, ElectionTimeout,
// SnapshotInterval and SnapshotThreshold, or Timing's values for them. The
// leader's lease and everything else stay. After an error nothing has changed.
func (w *Worker) Reload(cfg Config) error {
	if err := w.endError(); err != nil {
		return err
	}
	l := w.life
	cfg.LocalID, cfg.Logger, cfg.LeaderLeaseTimeout = w.cfg.LocalID, nil, l.config.LeaderLeaseTimeout
	next, err := NewRaftConfig(cfg)
	if err != nil {
		return err
	}
	usual := reloadable(next)
	l.usual.Store(&usual)
	if err := l.reload(); err != nil {
		return fmt.Errorf("cannot reload raft config: %w", err)
	}
	return nil
}

// reloadable returns the settings of c that can be changed while raft runs.
func reloadable(c *raft.Config) raft.ReloadableConfig {
	return raft.ReloadableConfig{
		TrailingLogs: c.TrailingLogs, SnapshotInterval: c.SnapshotInterval, SnapshotThreshold: c.SnapshotThreshold,
		HeartbeatTimeout: c.HeartbeatTimeout, ElectionTimeout: c.ElectionTimeout,
	}
}
