package leaseapplier

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/catacomb"

	"github.com/interrex/interrex"
)

// LeaseApplier proposes the queue's operations to raft and returns their results. It
// is a worker with a goroutine of its own, so that its supervisor never waits for an
// entry.
type LeaseApplier interface {
	worker.Worker
	LeadershipChanged()
	ReadyTerm() uint64
	FinalTick(context.Context) error
	Report() map[string]any
}

// Applier is the LeaseApplier of one raft.Raft, and ends with it. The queue outlives
// it, with the operations that the Applier has not taken.
//
// Every operation that it has taken is answered exactly once, even when it is killed
// or fails.
type Applier struct {
	catacomb   catacomb.Catacomb
	config     Config
	proposer   *proposer
	changed    chan struct{}
	finalTicks chan chan<- error
}

var _ LeaseApplier = (*Applier)(nil)

// NewApplier starts an Applier.
func NewApplier(c Config) (*Applier, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c.setDefaults()
	a := &Applier{config: c, changed: make(chan struct{}, 1), finalTicks: make(chan chan<- error)}
	a.proposer = newProposer(&a.config)
	if err := catacomb.Invoke(catacomb.Plan{Site: &a.catacomb, Work: a.loop}); err != nil {
		return nil, err
	}
	return a, nil
}

// LeadershipChanged makes the Applier check raft's state. It never blocks.
func (a *Applier) LeadershipChanged() {
	select {
	case a.changed <- struct{}{}:
	default:
	}
}

// ReadyTerm returns the term in which this agent leads and has applied all entries
// of its predecessors; 0: there is none.
func (a *Applier) ReadyTerm() uint64 { return a.proposer.leadership.readyTerm.Load() }

// Waiting returns how many claims wait for k; 0 on every agent but the leader.
func (a *Applier) Waiting(k interrex.Key) int { return a.proposer.counts.of(k) }

// FinalTick writes a last stamp, so that the next leader's cluster time starts where
// this one's ended. It returns once the stamp is applied, or at once when nothing can
// end by time; the error is a NotLeaderError or raft's.
func (a *Applier) FinalTick(ctx context.Context) error {
	if _, can := a.config.State.Due(); !can {
		return nil
	}
	done := make(chan error, 1)
	select {
	case a.finalTicks <- done:
	case <-a.proposer.ended:
		return errors.New("cannot write a last stamp: the applier has stopped")
	case <-ctx.Done():
		return fmt.Errorf("cannot write a last stamp: %w", ctx.Err())
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("cannot write a last stamp: %w", ctx.Err())
	}
}

// Report describes the Applier as of its last step.
func (a *Applier) Report() map[string]any {
	a.proposer.mu.Lock()
	s := a.proposer.status
	a.proposer.mu.Unlock()
	report := map[string]any{"term": s.term, "ready": s.ready, "in-flight": s.inFlight, "waiters": s.waiters}
	if !s.transferSince.IsZero() {
		report["handing-over-since"] = s.transferSince.UTC().Format(time.RFC3339)
	}
	return report
}

// Kill asks the Applier to stop.
func (a *Applier) Kill() { a.catacomb.Kill(nil) }

// Wait waits until it has stopped and everything that it had taken is answered.
func (a *Applier) Wait() error { return a.catacomb.Wait() }

func (a *Applier) loop() (err error) {
	p := a.proposer
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("applier panicked: %v\n%s", r, debug.Stack())
		}
		p.finish()
	}()
	timer := a.config.Clock.NewTimer(pollInterval)
	defer timer.Stop()
	for {
		if err := p.step(); err != nil {
			return err
		}
		p.publish()
		timer.Reset(p.wakeIn())
		select {
		case <-a.catacomb.Dying():
			p.drain()
			return a.catacomb.ErrDying()
		case <-a.config.Queue.Ready():
		case <-a.changed:
		case <-timer.Chan():
		case result := <-p.leadership.barriers:
			p.endBarrier(result)
		case e := <-p.settled:
			p.settle(e)
		case done := <-a.finalTicks:
			p.addFinalTick(done)
		}
	}
}
