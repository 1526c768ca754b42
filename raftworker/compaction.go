package raftworker

import (
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// maxLogBytes is how much of the disk the log may have before a snapshot is
// made for that alone.
const maxLogBytes = 256 << 20

// compactPause is the least time between two snapshots for the log's bytes.
const compactPause = 10 * time.Second

// compaction keeps the log within its bytes, where entries are so large that
// their number alone would not.
type compaction struct {
	cfg    Config
	l      *life
	under  chan error // the snapshot under way; nil: none is
	began  time.Time
	warned bool
}

// step begins or ends a snapshot; it waits for nothing.
func (c *compaction) step() {
	now := c.cfg.Clock.Now()
	select {
	case err := <-c.under:
		c.end(err)
	default:
	}
	if c.under != nil || c.l.dir.Bytes() <= c.cfg.logBytes || !c.began.IsZero() && now.Sub(c.began) < compactPause {
		return
	}
	c.begin(now)
}

// begin makes a snapshot that leaves half of the bytes. The threshold goes down
// with what is left, so that a follower which lags by less than that needs no
// snapshot again and again.
func (c *compaction) begin(now time.Time) {
	c.began = now
	last := c.l.raft.LastIndex()
	since := c.l.dir.Since(c.cfg.logBytes / 2)
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
		c.cfg.Logger.Errorf("the log has %d MiB, more than %d, and cannot be made shorter: %v", c.l.dir.Bytes()>>20, c.cfg.logBytes>>20, err)
	}
}

// leave sets how many entries raft leaves behind a snapshot; 0: the usual. raft
// refuses no number of them.
func (l *life) leave(entries uint64) {
	l.trailing.Store(entries)
	_ = l.reload()
}

// overfull says why a halted agent, whose log can only grow, takes no further
// part in raft.
func (l *life) overfull() error {
	halted := l.cfg.State.Halted()
	if bytes := l.dir.Bytes(); halted != nil && bytes > 2*l.cfg.logBytes {
		return fmt.Errorf("%w, of which it cannot make a snapshot: it has %d MiB: %w", errLogFull, bytes>>20, halted)
	}
	return nil
}
