package raftworker

import (
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex/internal/founding"
	"github.com/interrex/interrex/internal/raftrules"
)

// The periods at which the loop looks at raft.
const (
	samplePeriod = time.Second            // for the report and the guards
	readyPeriod  = 5 * time.Millisecond   // while this agent leads and is not ready yet
	foundPeriod  = 200 * time.Millisecond // while the log is empty and the first members are not decided
)

// serve follows raft until raft or the worker ends. Its waits for raft are bounded.
func (w *Worker) serve(l *life) error {
	g := newGuard(l)
	f := founding.New(w.cfg.founding(), l.raft)
	c := &compaction{cfg: w.cfg, l: l}
	timer := w.cfg.Clock.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-w.catacomb.Dying():
			return w.catacomb.ErrDying()
		case <-l.dir.Failed():
			return l.dir.Failure()
		case <-l.rules.Conflict():
			return raftrules.ErrConflict
		case err := <-l.ended:
			l.ended <- nil // bringDown receives it too
			return applierEnd(err)
		case <-l.news:
		case <-timer.Chan():
		}
		if l.raft.State() == raft.Shutdown {
			return errRaftShutdown
		}
		w.update(l, f)
		c.step()
		if err := g.check(); err != nil {
			return err
		}
		// After news too, since a leader that is not ready yet has a short period.
		timer.Reset(l.period(f))
	}
}

// update publishes who leads, and acts on what has changed.
func (w *Worker) update(l *life, f *founding.Founder) {
	f.Step()
	l.observed.look()
	is := l.leadership()
	if is.Leader {
		l.hurried.Store(false)
	}
	// An error leaves raft with the settings that it has.
	_ = l.reload()
	before := w.cfg.Leadership.Current()
	if before.Leader != is.Leader || before.Term != is.Term {
		l.applier.LeadershipChanged()
	}
	if err := l.rules.Settle(l.raft.GetConfiguration().Configuration()); err != nil {
		w.cfg.Logger.Errorf("%v", err)
	}
	if unfit := l.rules.Fitness() != ""; unfit != l.unfit {
		l.unfit = unfit
		w.cfg.FitnessChanged()
	}
	l.logWhole()
	l.metrics.leaderChanged(before, is)
	w.cfg.Leadership.Set(is)
	w.refreshReport(l)
}

func (l *life) period(f *founding.Founder) time.Duration {
	switch {
	case l.raft.State() == raft.Leader && !l.cfg.Leadership.Current().Ready:
		return readyPeriod
	case f.Open():
		return foundPeriod
	}
	return min(samplePeriod, l.cfg.checkPeriod)
}

func applierEnd(err error) error {
	if err == nil {
		err = errors.New("it ended unexpectedly")
	}
	return fmt.Errorf("applier: %w", err)
}
