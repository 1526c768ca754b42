package raftworker

import (
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// maxLogBytes is the size of the log at which a snapshot is taken to shorten it, unless
// the newest snapshot is larger: a snapshot is taken for as many bytes of log as it has.
const maxLogBytes = 256 << 20

// compactPause is the minimum time between two snapshots taken for the log's size.
const compactPause = 10 * time.Second

// entryBytes is how many bytes a snapshot may have for each entry that was due before it:
// after a larger one more entries make the next one due, so that not all of a large state is
// written for a few small changes.
const entryBytes = 4 << 10

// compaction limits the log's size in bytes, where entries are so large that
// their number does not.
type compaction struct {
	cfg    Config
	l      *life
	under  chan error // the result of the snapshot in progress; nil: no snapshot is in progress
	began  time.Time
	warned bool
}

// step starts a snapshot or collects the result of one. It does not wait.
func (c *compaction) step() {
	now := c.cfg.Clock.Now()
	select {
	case err := <-c.under:
		c.end(err)
	default:
	}
	if c.under != nil || c.l.dir.Bytes() <= c.l.maxLog() || !c.began.IsZero() && now.Sub(c.began) < compactPause {
		return
	}
	c.begin(now)
}

// begin starts a snapshot after which half of the bytes remain in the log. A
// follower that lags by less than that does not need the snapshot.
func (c *compaction) begin(now time.Time) {
	c.began = now
	last := c.l.raft.LastIndex()
	since := c.l.dir.Since(c.l.maxLog() / 2)
	if since > last {
		return
	}
	c.l.leave(last - since + 1)
	c.under = make(chan error, 1)
	under, snapshot := c.under, c.l.raft.Snapshot()
	go func() { under <- snapshot.Error() }()
}

func (c *compaction) end(err error) {
	c.under = nil
	c.l.leave(0)
	switch {
	case err == nil, errors.Is(err, raft.ErrNothingNewToSnapshot):
		c.warned = false
	case !c.warned:
		c.warned = true
		c.cfg.Logger.Errorf("the log has %d MiB, more than %d MiB, and cannot be shortened: %v", c.l.dir.Bytes()>>20, c.l.maxLog()>>20, err)
	}
}

// maxLog is the size of the log at which a snapshot is due.
func (l *life) maxLog() int64 { return max(l.cfg.logBytes, l.dir.SnapshotBytes()) }

// leave sets how many entries raft keeps in the log behind a snapshot; 0: the
// default. raft accepts any number.
func (l *life) leave(entries uint64) {
	l.trailing.Store(entries)
	_ = l.reload()
}

// overfull returns why a halted agent, whose log can only grow, must leave raft.
func (l *life) overfull() error {
	halted := l.cfg.State.Halted()
	if bytes := l.dir.Bytes(); halted != nil && bytes > 2*l.maxLog() {
		return fmt.Errorf("%w (%d MiB), and it cannot take a snapshot: %w", errLogFull, bytes>>20, halted)
	}
	return nil
}
