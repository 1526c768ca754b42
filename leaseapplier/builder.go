package leaseapplier

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/state"
)

// builder makes entries. One goroutine owns it; what others touch is in shared.
type builder struct {
	config  *Config
	shared  *shared
	lead    leading
	table   state.Waitable
	waiters *waiters
	flights []*flight          // in the log, not yet known to be applied
	finals  []chan<- error     // who waits for a last stamp
	taken   []*queue.Operation // out of the queue, and in no flight yet
	sorted  batch              // of taken: what goes into the draft
	draft   *flight            // not handed to raft yet, or just then
	tidyAt  time.Time          // zero: nobody waits

	written []state.Operation // empty: the memory in which send makes an entry
}

// shared is what the builder shares with the goroutines around it.
type shared struct {
	readyTerm atomic.Uint64
	settled   chan *flight
	barriers  chan barrierDone
	gone      chan struct{} // closed when the builder has ended
	census    *census

	mu     sync.Mutex // guards what follows
	status status
}

// step does whatever can be done now. The error ends the Applier.
func (b *builder) step() error {
	b.follow()
	now := b.config.Clock.Now()
	b.watch(now)
	b.tidy(now)
	switch {
	case b.lead.term == 0:
		b.refuseAll()
		return nil
	case b.isStuck(now):
		return ErrTransferStuck
	case !b.lead.ready || b.lead.paused:
		b.startBarrier(now)
		return nil
	}
	for b.mayPropose() && b.propose() {
	}
	if b.tidyAt.IsZero() && b.waiters.len() > 0 {
		b.tidyAt = now.Add(patrol)
	}
	return nil
}

// watch answers the operations of entries that raft does not answer. What raft
// says later changes nothing for them.
func (b *builder) watch(now time.Time) {
	for _, f := range b.flights {
		if f.overdue || now.Sub(f.started) < b.config.AnswerTimeout {
			continue
		}
		f.overdue = true
		b.config.Logger.Warningf("raft has not answered an entry of %d operations for %v", len(f.ops), now.Sub(f.started))
		b.giveUp(f, errUnknown("raft does not answer", nil))
	}
}

// giveUp answers everything of a flight that may still be applied.
func (b *builder) giveUp(f *flight, err error) {
	for i, op := range f.ops {
		r := state.Result{Attempt: op.Attempt, Err: err}
		if id, waits := f.waits[i]; waits {
			b.waiters.applied(id, r)
		}
		b.answer(op, r)
	}
	for _, done := range f.final {
		done <- err
	}
	f.final = nil
}

func (b *builder) tidy(now time.Time) {
	if b.waiters.len() == 0 {
		b.tidyAt = time.Time{}
		return
	}
	if now.Before(b.tidyAt) {
		return
	}
	b.tidyAt = b.waiters.tidy(now)
}

// mayPropose reports whether one more entry may be in flight: one at low load,
// which makes the next batch larger at no cost, and more only when more than a
// batch waits.
func (b *builder) mayPropose() bool {
	if len(b.flights) == 0 {
		return true
	}
	normal, extend := b.config.Queue.Depth()
	return normal+extend > state.MaxOperations && len(b.flights) < b.config.MaxInFlight
}

// propose makes an entry of what waits and returns it to raft; false: there was
// nothing to propose.
func (b *builder) propose() bool {
	b.draft = &flight{term: b.lead.term}
	b.taken = b.take()
	b.sort(b.taken)
	// The stamp is read after the last operation has been taken: nothing is
	// judged by a time before it was asked for.
	stamp := b.clusterNow()
	b.fill(b.sorted, stamp)
	f := b.draft
	tick, can := b.tickDue()
	if len(f.ops) == 0 && len(b.finals) == 0 && !(can && tick <= stamp) {
		some := len(b.taken) > 0
		b.draft, b.taken, b.sorted = nil, nil, batch{}
		return some
	}
	f.final, b.finals = b.finals, nil
	b.send(f, stamp)
	return true
}

// send passes an entry to raft.
func (b *builder) send(f *flight, stamp state.Time) {
	for _, op := range f.ops {
		b.written = append(b.written, op.Operation)
	}
	entry := state.Entry{Version: b.config.EntryVersion(), Stamp: stamp, Wall: b.config.Clock.Now().UTC(), Operations: b.written}
	encoded := state.AppendEntry(make([]byte, 0, f.bytes+64), &entry)
	clear(b.written) // what they point to is not kept
	b.written = b.written[:0]
	timeout := b.config.ApplyTimeout
	if b.lead.first {
		timeout = b.config.InitialApplyTimeout
	}
	b.lead.first = false
	f.started = b.config.Clock.Now()
	f.future = b.config.Raft.Apply(encoded, timeout)
	b.flights = append(b.flights, f)
	b.draft, b.taken, b.sorted = nil, nil, batch{}
	go b.land(f)
}

// settle takes note of what became of a flight, and hands the waiters theirs.
func (b *builder) settle(f *flight) {
	if !slices.Contains(b.flights, f) {
		return // of a term that is over
	}
	b.flights = slices.DeleteFunc(b.flights, func(o *flight) bool { return o == f })
	if f.err == nil {
		b.lead.stuckSince = time.Time{}
	} else if f.term == b.lead.term {
		b.noteRefusal(f.err, b.config.Clock.Now())
	}
	for i, id := range f.waits {
		// What never came into the log has decided nothing: the waiter stays,
		// unless all waiters go with this agent's leadership.
		if f.err == nil || !nothingHappened(f.err) {
			b.waiters.applied(id, f.results[i])
		}
	}
	b.lookAgain(f)
	for _, done := range f.final {
		done <- f.err
	}
}

// lookAgain makes the waiters check every name that the entry may have freed:
// checking one too many does no harm.
func (b *builder) lookAgain(f *flight) {
	if b.waiters.len() == 0 {
		return
	}
	for _, op := range f.ops {
		if op.Lane != state.LaneNormal {
			continue
		}
		for _, c := range op.Each {
			b.waiters.look(c.About().Key)
		}
	}
}

// forgetTerms drops the flights of earlier terms: this leader has applied all of
// its predecessors' entries, so each of them is in the state, or will never be.
func (b *builder) forgetTerms(term uint64) {
	keep := b.flights[:0]
	for _, f := range b.flights {
		if f.term == term {
			keep = append(keep, f)
			continue
		}
		b.giveUp(f, errUnknown("leadership was lost", nil))
	}
	clear(b.flights[len(keep):])
	b.flights = keep
}

func (b *builder) endFinals(err error) {
	for _, done := range b.finals {
		done <- err
	}
	b.finals = nil
}

// inLog reports whether an attempt of a request is in an entry that is not yet
// known to be applied, or in the one that is being made.
func (b *builder) inLog(id request) bool {
	return slices.ContainsFunc(b.flights, func(f *flight) bool { return f.has(id) }) ||
		b.draft != nil && b.draft.awaits(id) || b.sorted.has(id)
}

// unheard reports whether askings may wait in the queue.
func (b *builder) unheard() bool {
	normal, _ := b.config.Queue.Depth()
	return normal > 0
}

func (b *builder) recorded(op *queue.Operation) (state.Result, bool) {
	return b.config.State.Recorded(&op.Operation)
}
