package raftworker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/raft"
)

// bringDown ends a life in the order in which nothing is missed: this agent is
// no longer ready; a leader writes a last stamp and hands leadership over; the
// applier answers everything it has; visitors leave; no request of another
// agent reaches raft any more (hashicorp/raft#717); raft ends; the directory
// is closed. Each step has a bound, and the next one follows in any case.
func (w *Worker) bringDown(l *life, cause error) error {
	w.visits.Close(ended()) // no new visits; those inside are asked to leave
	w.publishLeaving(l)
	w.handOver(l)
	l.applier.Kill()
	if !w.within(l, w.cfg.StopTimeout, func(context.Context) { <-l.ended }) {
		w.cfg.Logger.Errorf("the applier has not ended within %s", w.cfg.StopTimeout)
	}
	w.seeVisitorsOut(l)
	err := w.stopRaft(l)
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

// handOver transfers leadership to another voter, so that callers wait for a
// message and not for an election. A leader whose disk has failed writes no
// stamp; it steps down with that failure.
func (w *Worker) handOver(l *life) {
	if l.raft.State() != raft.Leader || l.dir.Failure() != nil {
		return
	}
	w.within(l, w.cfg.HandoverTimeout, func(ctx context.Context) {
		if err := l.applier.FinalTick(ctx); err != nil {
			w.cfg.Logger.Debugf("no last stamp was written: %v", err)
		}
	})
	if alone(l.raft.GetConfiguration().Configuration(), l.config.LocalID) {
		return
	}
	w.within(l, w.cfg.HandoverTimeout, func(context.Context) {
		if err := w.transfer(l).Error(); err != nil {
			w.cfg.Logger.Infof("leadership was not handed over: %v", err)
		}
	})
	w.publishLeaving(l)
}

func (w *Worker) seeVisitorsOut(l *life) {
	w.within(l, w.cfg.VisitTimeout, func(ctx context.Context) { w.visits.Close(ctx) })
	if names := w.visits.Visitors(); len(names) > 0 {
		w.cfg.Logger.Errorf("raft ends although it is still in use by %s", strings.Join(names, ", "))
	}
}

// stopRaft cuts raft off from everybody, ends it, and closes its directory.
func (w *Worker) stopRaft(l *life) error {
	l.raft.DeregisterObserver(l.observer)
	if !w.within(l, w.cfg.StopTimeout, func(context.Context) { l.transport.Drain() }) {
		w.cfg.Logger.Errorf("the raft transport has not drained within %s", w.cfg.StopTimeout)
	}
	err := w.endRaft(l)
	if err == nil {
		err = l.rules.cutConflict()
	}
	if err = errors.Join(err, l.dir.Close()); err != nil {
		return fmt.Errorf("raft shutdown failed: %w", err)
	}
	return nil
}

// endRaft waits for raft's goroutines. One of them may wait because a term could
// not be saved: it is let go, but only once nothing that raft says can leave
// this agent.
func (w *Worker) endRaft(l *life) error {
	shutdown := l.raft.Shutdown()
	over := make(chan struct{})
	var err error // of raft's end; read after over
	go func() {
		defer close(over)
		err = shutdown.Error()
	}()
	wait := func(failed <-chan struct{}) (ended bool) {
		w.within(l, w.cfg.StopTimeout, func(ctx context.Context) {
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
		return errors.Join(closed, fmt.Errorf("raft has not ended within %s", w.cfg.StopTimeout))
	}
	return errors.Join(err, closed)
}

// within runs one step of the end and waits for it, d at most; it reports
// whether the step has returned. Meanwhile it goes on telling who leads, so
// that requests which come here still find the new leader.
func (w *Worker) within(l *life, d time.Duration, step func(context.Context)) bool {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		step(ctx)
	}()
	timer := w.cfg.Clock.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-done:
			return true
		case <-timer.Chan():
			return false
		case <-l.news:
			w.publishLeaving(l)
		}
	}
}

// publishLeaving tells who leads; this agent is not ready, whatever it is.
func (w *Worker) publishLeaving(l *life) {
	is := w.leadership(l)
	is.Ready = false
	w.cfg.Leadership.Set(is)
}
