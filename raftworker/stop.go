package raftworker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex/internal/founding"
)

// bringDown ends a life in this order: this agent is no longer ready; a leader
// writes a last stamp and hands leadership over; the applier answers everything it
// has; visitors leave; requests of other agents no longer reach raft
// (hashicorp/raft#717); raft ends; the directory is closed. Each step is bounded,
// and the next one follows even when it fails.
func (w *Worker) bringDown(l *life, cause error) error {
	w.visits.Close(ended()) // no new visits; present visitors are asked to leave
	l.publishLeaving()
	l.stepDown()
	l.applier.Kill()
	if !l.within(w.cfg.stopTimeout, func(context.Context) { <-l.ended }) {
		w.cfg.Logger.Errorf("the applier has not ended within %s", w.cfg.stopTimeout)
	}
	w.seeVisitorsOut(l)
	err := l.stopRaft()
	w.cfg.Leadership.Lost()
	l.metrics.unregister(w.cfg)
	w.refreshReport(l)
	switch {
	case err == nil:
		return cause
	case cause == nil || errors.Is(cause, w.catacomb.ErrDying()):
		return err
	}
	w.cfg.Logger.Errorf("%v", err)
	return cause
}

func ended() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// stepDown transfers leadership to another voter, which takes one message instead
// of an election. A leader whose disk has failed writes no stamp: raft steps down
// at the failure.
func (l *life) stepDown() {
	if l.raft.State() != raft.Leader || l.dir.Failure() != nil {
		return
	}
	l.within(l.cfg.handoverTimeout, func(ctx context.Context) { l.lastStamp(ctx) })
	if founding.OnlyVoter(l.raft.GetConfiguration().Configuration(), l.config.LocalID) {
		return
	}
	l.within(l.cfg.handoverTimeout, func(context.Context) {
		if err := l.transfer().Error(); err != nil {
			l.cfg.Logger.Infof("leadership was not handed over: %v", err)
		}
	})
	l.publishLeaving()
}

func (w *Worker) seeVisitorsOut(l *life) {
	l.within(w.cfg.visitTimeout, func(ctx context.Context) { w.visits.Close(ctx) })
	if names := w.visits.Visitors(); len(names) > 0 {
		w.cfg.Logger.Errorf("stopping raft while it is still in use by %s", strings.Join(names, ", "))
	}
}

// stopRaft cuts raft off from the other agents, ends it, and closes its directory.
func (l *life) stopRaft() error {
	l.raft.DeregisterObserver(l.observer)
	if !l.within(l.cfg.stopTimeout, func(context.Context) { l.transport.Drain() }) {
		l.cfg.Logger.Errorf("the raft transport has not drained within %s", l.cfg.stopTimeout)
	}
	err := l.endRaft()
	l.observed.look()
	if err == nil {
		err = l.rules.CutConflict()
	}
	if err = errors.Join(err, l.dir.Close()); err != nil {
		return fmt.Errorf("raft shutdown failed: %w", err)
	}
	return nil
}

// endRaft waits for raft's goroutines. One of them may be blocked because a term
// could not be saved: it is released, but only once nothing that raft sends can
// leave this agent.
func (l *life) endRaft() error {
	shutdown := l.raft.Shutdown()
	over := make(chan struct{})
	var err error // raft's result; read only after over is closed
	go func() {
		defer close(over)
		err = shutdown.Error()
	}()
	wait := func(failed <-chan struct{}) (ended bool) {
		l.within(l.cfg.stopTimeout, func(ctx context.Context) {
			select {
			case <-over:
			case <-failed:
			case <-ctx.Done():
			}
		})
		select {
		case <-over:
			return true
		default:
			return false
		}
	}
	ended := wait(l.dir.Failed())
	closed := l.transport.Close()
	l.dir.Release()
	if !ended && !wait(nil) {
		return errors.Join(closed, fmt.Errorf("raft has not ended within %s", l.cfg.stopTimeout))
	}
	return errors.Join(err, closed)
}

// within runs one step of the stop, waits for it for at most d, and reports
// whether it has returned. Meanwhile it continues to publish who leads, so that
// requests to this agent still find the new leader.
func (l *life) within(d time.Duration, step func(context.Context)) bool {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		step(ctx)
	}()
	timer := l.cfg.Clock.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-done:
			return true
		case <-timer.Chan():
			return false
		case <-l.news:
			l.publishLeaving()
		}
	}
}

// publishLeaving publishes who leads, with this agent not ready.
func (l *life) publishLeaving() {
	is := l.leadership()
	is.Ready = false
	l.cfg.Leadership.Set(is)
}
