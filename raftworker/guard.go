package raftworker

import (
	"cmp"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// guard ends a worker whose raft lives and is of no use. Its times are all of
// the worker's clock: what raft says of time is only compared with itself.
type guard struct {
	cfg Config
	l   *life

	checked time.Time // when it was last looked for a leader
	contact time.Time // when there was one, by our clock
	heard   time.Time // raft's last word on it, an opaque mark

	progress  time.Time // when a leader last had nothing under way, or committed
	committed uint64
	yielding  raft.Future // a leadership transfer out of a stall
	yielded   time.Time

	resigning raft.Future // a leadership transfer because this agent should not lead
	resigned  time.Time
}

func newGuard(l *life) *guard {
	now := l.cfg.Clock.Now()
	return &guard{cfg: l.cfg, l: l, checked: now, contact: now, progress: now}
}

func (g *guard) check() error {
	now := g.cfg.Clock.Now()
	if err := g.l.overfull(); err != nil {
		return err
	}
	if err := g.checkFitness(now); err != nil {
		return err
	}
	if err := g.checkProgress(now); err != nil {
		return err
	}
	if now.Sub(g.checked) < g.cfg.checkPeriod {
		return nil
	}
	g.checked = now
	return g.checkContact(now)
}

// checkContact ends a worker that has heard of no leader for too long: what a
// recovery has put into the log behind raft's back is read at the next start.
// An agent that belongs to no cluster yet has nothing to wait for.
func (g *guard) checkContact(now time.Time) error {
	heard := g.l.raft.LastContact()
	members := len(g.l.raft.GetConfiguration().Configuration().Servers)
	if g.l.raft.State() == raft.Leader || !heard.Equal(g.heard) || members == 0 {
		g.heard, g.contact = heard, now
		return nil
	}
	silent := now.Sub(g.contact)
	if silent <= g.cfg.NoLeaderTimeout {
		return nil
	}
	g.cfg.Logger.Errorf("no contact with a leader for %s, of %s allowed", silent.Round(time.Second), g.cfg.NoLeaderTimeout)
	return ErrNoLeaderTimeout
}

// checkProgress makes a leader that commits nothing step down. Its heartbeats
// go on, so that nobody else would (hashicorp/raft#503; openraft#2080).
func (g *guard) checkProgress(now time.Time) error {
	committed := g.l.raft.CommitIndex()
	busy := g.l.raft.State() == raft.Leader && g.l.raft.LastIndex() > committed
	if !busy || committed != g.committed {
		g.committed, g.progress, g.yielding = committed, now, nil
		return nil
	}
	stalled := now.Sub(g.progress)
	switch {
	case stalled <= g.cfg.stallTimeout:
		return nil
	case g.yielding == nil:
		g.cfg.Logger.Warningf("this leader has committed nothing for %s: it hands leadership over", stalled.Round(time.Millisecond))
		g.yielding, g.yielded = g.l.transfer(), now
		return nil
	case now.Sub(g.yielded) > g.cfg.handoverTimeout:
		return fmt.Errorf("%w: log index %d is committed, %d is written, for %s", errNoProgress, committed, g.l.raft.LastIndex(), stalled.Round(time.Millisecond))
	}
	return nil
}

// resignPause is how long a leader that had better not lead waits before it
// tries again to hand over.
const resignPause = 5 * time.Second

// checkFitness makes a leader that must not lead hand over, once, and ends its
// life if that fails. One that had better not lead tries it again and again,
// while there is a member that may.
func (g *guard) checkFitness(now time.Time) error {
	broken, reluctant := g.l.rules.Broken(), g.cfg.Reluctant()
	if g.l.raft.State() != raft.Leader || broken == nil && reluctant == nil {
		g.resigning = nil
		return nil
	}
	switch {
	case g.resigning == nil:
		if _, found := g.l.heir(); !found && broken == nil {
			return nil
		}
		g.cfg.Logger.Warningf("this leader hands leadership over: %v", cmp.Or(broken, reluctant))
		g.resigning, g.resigned = g.l.transfer(), now
	case broken != nil && now.Sub(g.resigned) > g.cfg.handoverTimeout:
		return fmt.Errorf("this leader must not lead, and nobody has taken leadership over: %w", broken)
	case now.Sub(g.resigned) > resignPause:
		g.resigning = nil
	}
	return nil
}
