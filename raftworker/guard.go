package raftworker

import (
	"cmp"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// guard ends a worker whose raft runs but is useless. All its times are by the
// worker's clock; raft's own times are only compared with each other.
type guard struct {
	cfg Config
	l   *life

	checked   time.Time // when contact with a leader was last checked
	contact   time.Time // when there was contact, by our clock
	contacted time.Time // raft's own time of the last contact, only compared for equality

	progress  time.Time // when this leader last had no uncommitted entry, or committed one
	committed uint64
	yielding  raft.Future // a leadership transfer because nothing is committed
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

// checkContact ends a worker that has had no contact with a leader for too long: a new
// life begins with what the disk holds, and with new connections. An agent that is in no cluster yet is not checked.
func (g *guard) checkContact(now time.Time) error {
	contacted := g.l.raft.LastContact()
	members := len(g.l.raft.GetConfiguration().Configuration().Servers)
	if g.l.raft.State() == raft.Leader || !contacted.Equal(g.contacted) || members == 0 {
		g.contacted, g.contact = contacted, now
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
// continue, so the followers would keep it (hashicorp/raft#503; openraft#2080).
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
		g.cfg.Logger.Warningf("this leader has committed nothing for %s: handing leadership over", stalled.Round(time.Millisecond))
		g.yielding, g.yielded = g.l.transfer(), now
		return nil
	case now.Sub(g.yielded) > g.cfg.handoverTimeout:
		return fmt.Errorf("%w: log index %d is committed and %d is written, unchanged for %s", errNoProgress, committed, g.l.raft.LastIndex(), stalled.Round(time.Millisecond))
	}
	return nil
}

// resignPause is how long a reluctant leader waits before it tries again to hand
// over.
const resignPause = 5 * time.Second

// checkFitness makes a leader that must not lead hand over, once, and ends its
// life if that fails. A reluctant one tries repeatedly, while another member may
// lead.
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
		g.cfg.Logger.Warningf("handing leadership over: %v", cmp.Or(broken, reluctant))
		g.resigning, g.resigned = g.l.transfer(), now
	case broken != nil && now.Sub(g.resigned) > g.cfg.handoverTimeout:
		return fmt.Errorf("this agent must not lead, and no other has taken over leadership: %w", broken)
	case now.Sub(g.resigned) > resignPause:
		g.resigning = nil
	}
	return nil
}
