package leaseapplier

import (
	"sync"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/state"
)

// The keep-alive of cluster time: while something can end by time, the newest stamp
// is no older than a tenth of the time until then, so that a change of leader
// lengthens a lease by at most a tenth.
const (
	stampShare  = 10
	minStampAge = time.Second
	maxStampAge = time.Minute
)

// pollInterval is how often leadership is checked without a notification.
const pollInterval = time.Second

// proposer turns the operations of the queue into entries of raft's log, and the
// entries' results into answers. It is used only by the Applier's goroutine, except
// for leadership.readyTerm, answers, counts and status.
type proposer struct {
	config     *Config
	leadership leadership
	counts     *waiterCounts
	answers    answers
	waiters    *waiters
	draft      draft
	inFlight   inFlight
	settled    chan *proposal
	finalTicks finalTicks    // answered by the next entry
	sweepAt    time.Time     // when the waiters are next swept; zero: there are none
	ended      chan struct{} // closed at the end

	written []state.Operation // empty: memory that send reuses

	mu     sync.Mutex // guards what follows
	status status
}

func newProposer(c *Config) *proposer {
	p := &proposer{config: c, counts: newWaiterCounts(), settled: make(chan *proposal), ended: make(chan struct{})}
	table := c.State.Waitable()
	if table == nil {
		table = nothingWaits{}
	}
	p.leadership = leadership{config: c, barriers: make(chan barrierResult), ended: p.ended}
	p.answers = answers{config: c, table: table, counts: p.counts}
	p.waiters = &waiters{
		config: c, table: table, counts: p.counts, answers: &p.answers, leader: p,
		lines: map[interrex.Key]*line{}, byID: map[request]*waiter{},
	}
	p.draft = draft{config: c, table: table, waiters: p.waiters}
	return p
}

// step does all that can be done at present. An error ends the Applier.
func (p *proposer) step() error {
	p.follow()
	now := p.config.Clock.Now()
	for _, e := range p.inFlight.overdue(now) {
		p.config.Logger.Warningf("raft has not answered an entry of %d operations for %v", len(e.ops), now.Sub(e.started))
		p.giveUp(e, errUnknown("raft did not answer in time", nil))
	}
	p.sweep(now)
	switch {
	case p.leadership.term == 0:
		p.refuseQueue()
		return nil
	case p.leadership.isStuck(now):
		return errTransferStuck
	case !p.leadership.mayPropose():
		p.leadership.startBarrier(now)
		return nil
	}
	for p.mayPropose() && p.propose() {
	}
	if p.sweepAt.IsZero() && p.waiters.len() > 0 {
		p.sweepAt = now.Add(sweepInterval)
	}
	return nil
}

// follow handles a change of leadership.
func (p *proposer) follow() {
	if lost := p.leadership.update(); !lost {
		return
	}
	p.waiters.removeAll(p.config.errNotLeader())
	p.finalTicks.end(p.config.errNotLeader())
}

// giveUp answers all operations of a proposal that may still be applied.
func (p *proposer) giveUp(e *proposal, err error) {
	for i, op := range e.ops {
		r := state.Result{Attempt: op.Attempt, Err: err}
		if id, waits := e.waits[i]; waits {
			p.waiters.applied(id, r)
		}
		p.answers.answer(op, r)
	}
	e.finalTicks.end(err)
}

// sweep ends the waits that are over, if a sweep is due.
func (p *proposer) sweep(now time.Time) {
	if p.waiters.len() == 0 {
		p.sweepAt = time.Time{}
		return
	}
	if !now.Before(p.sweepAt) {
		p.sweepAt = p.waiters.sweep(now)
	}
}

// refuseQueue answers the operations in the queue: this agent does not lead.
func (p *proposer) refuseQueue() {
	start := p.config.Clock.Now()
	for {
		p.draft.take()
		if len(p.draft.taken) == 0 {
			return
		}
		err := p.config.errNotLeader()
		p.config.Metrics.RecordLeaderError(start)
		for _, op := range p.draft.taken {
			p.answers.refuse(op, err)
		}
		p.draft.reset()
	}
}

// mayPropose reports whether one more entry may be in flight. At low load there is
// one, while which the next batch grows at no cost; there are more only while more
// than a batch waits.
func (p *proposer) mayPropose() bool {
	if len(p.inFlight) == 0 {
		return true
	}
	normal, extend := p.config.Queue.Depth()
	return normal+extend > limits.MaxOperations && len(p.inFlight) < maxInFlight
}

// propose makes an entry of what waits and passes it to raft; false: there was
// nothing to propose.
func (p *proposer) propose() bool {
	d := &p.draft
	d.begin(p.leadership.term)
	// The stamp is read after the last operation has been taken, so that none is
	// judged by a time before it was sent.
	stamp := p.clusterNow()
	d.fill(stamp)
	tick, can := p.tickDue()
	if len(d.entry.ops) == 0 && len(p.finalTicks) == 0 && !(can && tick <= stamp) {
		took := len(d.taken) > 0
		d.reset()
		return took
	}
	d.entry.finalTicks, p.finalTicks = p.finalTicks, nil
	p.send(d.entry, stamp)
	return true
}

// tickDue returns the cluster time of the next tick; false: nothing can end by time,
// or an entry in flight replaces the tick.
func (p *proposer) tickDue() (state.Time, bool) {
	due, can := p.config.State.Due()
	if !can || len(p.inFlight) > 0 {
		return 0, false
	}
	return tickTime(p.config.State.Now(), due), true
}

// tickTime returns when the next tick is due, given the newest stamp and the earliest
// time at which something ends: at that time, or before it if the newest stamp becomes
// too old.
//
// The keep-alive is due when the stamp's age is a tenth of the rest:
// age = (due - (newest + age)) / 10, which is (due - newest) / 11.
func tickTime(newest, due state.Time) state.Time {
	age := due.Sub(newest) / (stampShare + 1)
	return min(due, newest.Add(min(max(age, minStampAge), maxStampAge)))
}

// send passes an entry to raft.
func (p *proposer) send(e *proposal, stamp state.Time) {
	for _, op := range e.ops {
		p.written = append(p.written, op.Operation)
	}
	entry := machine.Entry{Version: p.config.EntryVersion(), Stamp: stamp, Wall: p.config.Clock.Now().UTC(), Operations: p.written}
	encoded := entry.Append(make([]byte, 0, e.bytes+64))
	clear(p.written) // releases what they point to
	p.written = p.written[:0]
	e.started = p.config.Clock.Now()
	e.future = p.config.Raft.Apply(encoded, p.leadership.applyTimeout())
	p.inFlight = append(p.inFlight, e)
	p.draft.reset()
	go p.await(e)
}

// await waits for raft's answer on its own goroutine, passes it on, and answers the
// operations.
func (p *proposer) await(e *proposal) {
	e.wait(p.config)
	select {
	case p.settled <- e:
	case <-p.ended:
	}
	for i, op := range e.ops {
		if _, waits := e.waits[i]; !waits {
			p.answers.answer(op, e.results[i])
		}
	}
}

// settle handles the outcome of a proposal, and passes the waiters theirs.
func (p *proposer) settle(e *proposal) {
	if !p.inFlight.remove(e) {
		return
	}
	if e.err == nil {
		p.leadership.noteSuccess()
	} else if e.term == p.leadership.term {
		p.leadership.noteRefusal(e.err, p.config.Clock.Now())
	}
	for i, id := range e.waits {
		// A claim that never entered the log has decided nothing: its waiter
		// stays, unless all end with this agent's leadership.
		if nothingHappened(e.err) {
			p.waiters.notApplied(id)
		} else {
			p.waiters.applied(id, e.results[i])
		}
	}
	p.recheck(e)
	e.finalTicks.end(e.err)
}

// recheck makes the waiters check every key that the entry may have freed; checking
// one too many does no harm.
func (p *proposer) recheck(e *proposal) {
	if p.waiters.len() == 0 {
		return
	}
	for _, op := range e.ops {
		if op.Extend {
			continue
		}
		for _, c := range op.Each {
			p.waiters.recheck(c.About().Key)
		}
	}
}

// endBarrier handles a barrier's result. A leader that becomes ready has applied all
// of its predecessors' entries: each entry of its own earlier terms is in the state,
// or will never be.
func (p *proposer) endBarrier(result barrierResult) {
	if !p.leadership.endBarrier(result) {
		return
	}
	for _, e := range p.inFlight.removeOtherTerms(result.term) {
		p.giveUp(e, errUnknown("leadership was lost", nil))
	}
}

// addFinalTick makes the next entry answer done.
func (p *proposer) addFinalTick(done chan<- error) {
	if p.leadership.term == 0 {
		done <- p.config.errNotLeader()
		return
	}
	p.finalTicks = append(p.finalTicks, done)
}

// inLog reports whether an attempt of a request is in an entry that is not known to
// be applied, or in the draft.
func (p *proposer) inLog(id request) bool { return p.inFlight.has(id) || p.draft.has(id) }

func (p *proposer) clusterNow() state.Time { return p.leadership.clusterNow() }

// wakeIn returns the time until there is something to do without an event.
func (p *proposer) wakeIn() time.Duration {
	now := p.config.Clock.Now()
	d := pollInterval
	if retry, due := p.leadership.retryIn(now); due {
		d = min(d, retry)
	}
	if p.leadership.mayPropose() {
		if at, can := p.tickDue(); can {
			d = min(d, at.Sub(p.clusterNow()))
		}
	}
	if !p.sweepAt.IsZero() {
		d = min(d, p.sweepAt.Sub(now))
	}
	if overdue, will := p.inFlight.overdueIn(now); will {
		d = min(d, overdue)
	}
	return max(d, time.Millisecond)
}

// drain waits for the entries in flight for a short time: an answer is better than an
// unknown outcome.
func (p *proposer) drain() {
	deadline := p.config.Clock.NewTimer(drainTimeout)
	defer deadline.Stop()
	for len(p.inFlight) > 0 {
		select {
		case e := <-p.settled:
			p.settle(e)
		case <-deadline.Chan():
			return
		}
	}
}

// finish answers everything that is left, however the goroutine ended.
func (p *proposer) finish() {
	p.leadership.readyTerm.Store(0)
	p.waiters.removeAll(errStopped())
	left := p.inFlight
	if p.draft.entry != nil {
		left = append(left, p.draft.entry)
	}
	unknown := errUnknown("this agent is stopping", nil)
	for _, e := range left {
		p.giveUp(e, unknown)
	}
	for _, op := range p.draft.taken {
		p.answers.refuse(op, unknown)
	}
	p.finalTicks.end(errStopped())
	p.publish()
	close(p.ended)
}

// status is the source of Report. It is as of the last step, so that Report does not
// wait.
type status struct {
	term          uint64
	ready         bool
	inFlight      int
	waiters       int
	transferSince time.Time
}

// publish sets the status for Report and the metrics.
func (p *proposer) publish() {
	p.config.Metrics.RecordWaiters(p.waiters.len())
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status = status{p.leadership.term, p.leadership.ready, len(p.inFlight), p.waiters.len(), p.leadership.transferSince}
}
