package leaseapplier

import (
	"fmt"
	"runtime/debug"
	"time"

	"github.com/juju/clock"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/state"
)

// poll is how often leadership is looked at without being told of a change.
const poll = time.Second

// loop is the builder's goroutine.
func (a *Applier) loop() (err error) {
	b := &builder{config: &a.config, shared: &a.shared}
	if b.table = a.config.State.Waitable(); b.table == nil {
		b.table = nothingWaits{}
	}
	b.waiters = newWaiters(b, b.table, a.shared.census)
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("applier panics: %v\n%s", p, debug.Stack())
		}
		b.finish()
	}()
	timer := a.config.Clock.NewTimer(poll)
	defer timer.Stop()
	for {
		if err := b.step(); err != nil {
			return err
		}
		b.publish()
		timer.Reset(b.wake())
		select {
		case <-a.catacomb.Dying():
			b.drain(a.config.Clock)
			return a.catacomb.ErrDying()
		case <-a.config.Queue.Ready():
		case <-a.poke:
		case <-timer.Chan():
		case done := <-a.shared.barriers:
			b.endBarrier(done)
		case f := <-a.shared.settled:
			b.settle(f)
		case done := <-a.finals:
			b.addFinal(done)
		}
	}
}

func (b *builder) addFinal(done chan<- error) {
	if b.lead.term == 0 {
		done <- b.errNotLeader()
		return
	}
	b.finals = append(b.finals, done)
}

// wake says how long nothing needs to be done, unless something happens.
func (b *builder) wake() time.Duration {
	now := b.config.Clock.Now()
	d := poll
	if !b.lead.ready || b.lead.paused {
		if b.lead.term != 0 && !b.lead.barrier {
			d = min(d, b.lead.retry.Sub(now))
		}
	} else if at, can := b.tickDue(); can {
		d = min(d, at.Sub(b.clusterNow()))
	}
	if !b.tidyAt.IsZero() {
		d = min(d, b.tidyAt.Sub(now))
	}
	for _, f := range b.flights {
		if !f.overdue {
			d = min(d, f.started.Add(b.config.AnswerTimeout).Sub(now))
		}
	}
	return max(d, time.Millisecond)
}

// drain allows the entries in flight a little time: an answer is better than an
// outcome that nobody knows.
func (b *builder) drain(c clock.Clock) {
	deadline := c.NewTimer(b.config.DrainTimeout)
	defer deadline.Stop()
	for len(b.flights) > 0 {
		select {
		case f := <-b.shared.settled:
			b.settle(f)
		case <-deadline.Chan():
			return
		}
	}
}

// finish answers whatever the builder still has. It runs at the end of the
// goroutine, whatever ended it.
func (b *builder) finish() {
	b.shared.readyTerm.Store(0)
	b.waiters.leaveAll(b.errStopped())
	flights := b.flights
	if b.draft != nil {
		flights = append(flights, b.draft)
	}
	for _, f := range flights {
		b.giveUp(f, errUnknown("this agent stops", nil))
	}
	for _, op := range b.taken {
		b.answer(op, state.Result{Attempt: op.Attempt, Err: errUnknown("this agent stops", nil)})
	}
	b.endFinals(b.errStopped())
	b.publish()
	close(b.shared.gone)
}

func (b *builder) errStopped() error {
	e := interrex.Errorf(interrex.KindUnavailable, "cannot wait here: raft stops on this agent; nothing has happened, ask another")
	e.RetryAfter = retryAfter
	return e
}

// status is what Report says: as of the builder's last step, so that Report waits
// for nobody.
type status struct {
	term       uint64
	ready      bool
	inFlight   int
	waiters    int
	stuckSince time.Time
}

// publish leaves a status for Report and for the metrics.
func (b *builder) publish() {
	b.config.Metrics.RecordWaiters(b.waiters.len())
	b.shared.mu.Lock()
	defer b.shared.mu.Unlock()
	b.shared.status = status{b.lead.term, b.lead.ready, len(b.flights), b.waiters.len(), b.lead.stuckSince}
}

// withWaiting adds to a `held` how many wait. The error may be shared: it is
// copied.
func (b *builder) withWaiting(op *queue.Operation, e *interrex.Error) error {
	if e.Waiting != 0 || b.shared.census.empty() {
		return e
	}
	if op.Command == nil {
		return e // of a group: nobody says of which of its claims
	}
	if _, wants := b.table.Wants(op.Command); !wants {
		return e
	}
	told := *e
	told.Waiting = b.shared.census.waiting(op.Command.About().Key)
	return &told
}
