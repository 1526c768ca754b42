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

// handOver gives leadership to another voter, so that callers wait for a
// message and not for an election. A leader whose disk has failed writes no
// stamp; it steps down with that failure.
func (w *Worker) handOver(l *life) {
	if l.raft.State() != raft.Leader || l.dir.disk.failure() != nil {
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
		if err := l.raft.LeadershipTransfer().Error(); err != nil {
			w.cfg.Logger.Warningf("leadership was not handed over: %v", err)
		}
	})
	w.publishLeaving(l)
}

func (w *Worker) seeVisitorsOut(l *life) {
	w.within(l, w.cfg.VisitTimeout, func(ctx context.Context) { w.visits.Close(ctx) })
	if names := w.visits.Visitors(); len(names) > 0 {
		l.metrics.overstayed(len(names))
		w.cfg.Logger.Errorf("raft ends although it is still in use by %s", strings.Join(names, ", "))
	}
}

// stopRaft cuts raft off from everybody and ends it.
func (w *Worker) stopRaft(l *life) error {
	if l.observer != nil {
		l.raft.DeregisterObserver(l.observer)
	}
	if !w.within(l, w.cfg.StopTimeout, func(context.Context) { w.cfg.Transport.Drain() }) {
		w.cfg.Logger.Errorf("the raft transport has not drained within %s", w.cfg.StopTimeout)
	}
	errs := []error{w.cfg.Transport.Close()}
	// Raft can say nothing to anybody from here on, so that a term which could
	// not be saved may be let pass: see stableStore.SetUint64.
	l.dir.disk.release()
	shutdown := l.raft.Shutdown()
	var err error
	if w.within(l, w.cfg.StopTimeout, func(context.Context) { err = shutdown.Error() }) {
		errs = append(errs, err)
	} else {
		errs = append(errs, fmt.Errorf("no end within %s", w.cfg.StopTimeout))
	}
	if err := l.dir.Close(); err != nil {
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("raft shutdown failed: %w", err)
	}
	return nil
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
