package leaseapplier

import (
	"github.com/interrex/interrex"
	"github.com/interrex/interrex/lease"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/state"
)

// claimsRoom is the part of an entry's operations that is kept for waiters'
// claims, while somebody waits.
const claimsRoom = state.MaxOperations / 4

// take takes a batch from the queue, with room left for waiters' claims.
func (b *builder) take() []*queue.Operation {
	ops := state.MaxOperations
	if b.waiters.len() > 0 {
		ops -= claimsRoom
	}
	return b.config.Queue.Take(ops, state.BatchBytes)
}

// batch is what was taken from the queue, less what stands in line or was
// refused.
type batch struct {
	all      []*queue.Operation
	commands []state.Command  // of lease operations; nil: nobody waits
	requests map[request]bool // of all; made when somebody asks
}

// sort puts claims that wait into their lines, and refuses those that may not
// pass them. The rest is b.sorted.
func (b *builder) sort(ops []*queue.Operation) {
	b.sorted = batch{all: ops[:0:0]}
	out := &b.sorted
	now := b.config.Clock.Now()
	for i, op := range ops {
		if op.Wait == nil && b.waiters.len() == 0 {
			out.add(op, nil, len(ops)-i)
			continue
		}
		c := command(op)
		claim, claims := c.(*lease.Claim)
		switch {
		case claims && op.Wait != nil:
			b.waiters.ask(op, claim, now)
		case claims && !b.waiters.passes(op, claim):
		default:
			out.add(op, c, len(ops)-i)
		}
	}
}

func (r *batch) add(op *queue.Operation, c state.Command, left int) {
	if r.all == nil {
		r.all = make([]*queue.Operation, 0, left)
	}
	if c != nil && r.commands == nil {
		r.commands = make([]state.Command, len(r.all), len(r.all)+left)
	}
	r.all = append(r.all, op)
	if r.commands != nil {
		r.commands = append(r.commands, c)
	}
	if r.requests != nil {
		r.note(op)
	}
}

// has reports whether an attempt of a request is in the batch.
func (r *batch) has(id request) bool {
	if r.requests == nil && len(r.all) > 0 {
		r.requests = make(map[request]bool, len(r.all))
		for _, op := range r.all {
			r.note(op)
		}
	}
	return r.requests[id]
}

func (r *batch) note(op *queue.Operation) {
	if op.Lane != queue.LaneExtend && op.RequestID != "" {
		r.requests[requestOf(&op.Operation)] = true
	}
}

// fill puts the batch into the draft: extends first, then claims for names that
// are free or end at the stamp, then the rest, each claim of a waiter directly
// behind what frees its name.
func (b *builder) fill(r batch, stamp state.Time) {
	extends := 0
	for extends < len(r.all) && r.all[extends].Lane == queue.LaneExtend {
		b.draft.add(r.all[extends])
		extends++
	}
	if b.waiters.len() == 0 {
		for _, op := range r.all[extends:] {
			b.draft.add(op)
		}
		return
	}
	b.draft.room = state.MaxOperations - len(r.all)
	b.claimFreed(stamp)
	for i := extends; i < len(r.all); i++ {
		b.draft.add(r.all[i])
		if r.commands == nil {
			continue
		}
		k, frees := b.config.Leases.WouldFree(r.commands[i], stamp)
		if l := b.waiters.lines[k]; frees && l != nil {
			b.claim(b.waiters.first(l, false))
		}
	}
}

// claimFreed puts in the claims for names that are free, or will be at the
// stamp, and those that pass their lines.
func (b *builder) claimFreed(stamp state.Time) {
	if due, can := b.config.State.Due(); can && due <= stamp {
		for _, k := range b.config.Leases.DueKeys(stamp, state.MaxEndings) {
			b.waiters.look(k)
		}
	}
	for _, l := range b.waiters.looked() {
		if b.config.Leases.Free(l.key, stamp) {
			b.claim(b.waiters.first(l, true))
		} else {
			b.postpone(l)
		}
	}
	for _, w := range b.waiters.jumping() {
		b.claim(w)
	}
}

// postpone notes until when the name is taken, as far as is known.
func (b *builder) postpone(l *line) {
	l.next = 0
	if held, found := b.config.Leases.Get(l.key); found && !held.Pinned() {
		l.next = held.Expiry
	}
}

// claim puts a waiter's claim into the draft. Without room its name is looked at
// again for the next entry.
func (b *builder) claim(w *waiter) {
	if w == nil {
		return
	}
	op := w.newest()
	if b.draft.room <= 0 || b.draft.bytes+op.Size() > state.MaxEntryBytes-64 {
		b.waiters.look(w.line.key)
		return
	}
	if b.draft.waits == nil {
		b.draft.waits = map[int]request{}
	}
	b.draft.waits[len(b.draft.ops)] = w.id
	b.draft.add(op)
	b.draft.room--
}

func (f *flight) add(op *queue.Operation) {
	f.ops = append(f.ops, op)
	f.bytes += op.Size()
}

// awaits reports whether a claim for that waiter is in the draft.
func (f *flight) awaits(id request) bool {
	for _, w := range f.waits {
		if w == id {
			return true
		}
	}
	return false
}

// command decodes a lease operation; nil: it is none, or it is malformed, which
// Apply will say.
func command(op *queue.Operation) state.Command {
	if op.Table != state.LeaseTable || op.Lane == queue.LaneExtend {
		return nil
	}
	c, err := lease.Decode(op.Data)
	if err != nil {
		return nil
	}
	return c
}

// keyOf gives the name that a command may free or take.
func keyOf(c state.Command) (interrex.Key, bool) {
	switch c := c.(type) {
	case *lease.Claim:
		return c.Key, true
	case *lease.Revoke:
		return c.Key, true
	case *lease.Transfer:
		return c.Key, true
	case *lease.Unpin:
		return c.Key, true
	}
	return interrex.Key{}, false
}
