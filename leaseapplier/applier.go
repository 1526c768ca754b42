package leaseapplier

import (
	"context"
	"time"

	"github.com/juju/errors"
	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/catacomb"

	"github.com/interrex/interrex"
)

// LeaseApplier takes operations from the queue to raft and their results back.
// It is a worker with a goroutine of its own, so that whoever supervises it
// never waits for an entry.
type LeaseApplier interface {
	worker.Worker
	LeadershipChanged()
	ReadyTerm() uint64
	Waiting(interrex.Key) int
	FinalTick(context.Context) error
	Report() map[string]any
}

// Applier is the LeaseApplier of a raft. Its life is that of one raft.Raft; the
// queue outlives it, and what it has not taken from there stays there.
//
// Every operation that it has taken is answered exactly once, also when it is
// killed or fails.
type Applier struct {
	catacomb catacomb.Catacomb
	config   Config
	shared   shared
	poke     chan struct{}
	finals   chan chan<- error
}

var _ LeaseApplier = (*Applier)(nil)

// NewApplier starts an Applier.
func NewApplier(c Config) (*Applier, error) {
	if err := c.Validate(); err != nil {
		return nil, errors.Trace(err)
	}
	c.setDefaults()
	a := &Applier{
		config: c,
		shared: shared{
			settled:  make(chan *flight),
			barriers: make(chan barrierDone),
			gone:     make(chan struct{}),
			census:   newCensus(),
		},
		poke:   make(chan struct{}, 1),
		finals: make(chan chan<- error),
	}
	if err := catacomb.Invoke(catacomb.Plan{Site: &a.catacomb, Work: a.loop}); err != nil {
		return nil, errors.Trace(err)
	}
	return a, nil
}

// Kill asks the Applier to stop.
func (a *Applier) Kill() { a.catacomb.Kill(nil) }

// Wait waits until it has stopped and everything that it had taken is answered.
func (a *Applier) Wait() error { return a.catacomb.Wait() }

// LeadershipChanged has the Applier look at raft's state. It never blocks.
func (a *Applier) LeadershipChanged() {
	select {
	case a.poke <- struct{}{}:
	default:
	}
}

// ReadyTerm is the term in which this agent leads and has applied all entries of
// its predecessors; 0: there is none.
func (a *Applier) ReadyTerm() uint64 { return a.shared.readyTerm.Load() }

// Waiting is how many claims wait for k here; others than the leader have none.
func (a *Applier) Waiting(k interrex.Key) int { return a.shared.census.waiting(k) }

// FinalTick writes a last stamp, so that the next leader's time begins where
// this one's ended. It returns once the stamp is applied, or at once when
// nothing can end by time; the error is a NotLeaderError, or raft's.
func (a *Applier) FinalTick(ctx context.Context) error {
	if _, can := a.config.State.Due(); !can {
		return nil
	}
	done := make(chan error, 1)
	select {
	case a.finals <- done:
	case <-a.shared.gone:
		return errors.New("cannot write a last stamp: the applier has stopped")
	case <-ctx.Done():
		return errors.Annotate(ctx.Err(), "cannot write a last stamp")
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return errors.Annotate(ctx.Err(), "cannot write a last stamp")
	}
}

// Report describes the Applier as of its last step.
func (a *Applier) Report() map[string]any {
	a.shared.mu.Lock()
	s := a.shared.status
	a.shared.mu.Unlock()
	report := map[string]any{"term": s.term, "ready": s.ready, "in-flight": s.inFlight, "waiters": s.waiters}
	if !s.stuckSince.IsZero() {
		report["handing-over-since"] = s.stuckSince.UTC().Format(time.RFC3339)
	}
	return report
}
