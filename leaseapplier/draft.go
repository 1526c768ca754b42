package leaseapplier

import (
	"time"

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
	count    int              // of their commands
	bytes    int              // at most as many in an entry
	alone    int              // so many, at the front, were sorted while nobody waited
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
			if out.alone == len(out.all) {
				out.alone++
			}
			out.add(op, len(ops)-i)
			continue
		}
		if b.passes(op, now) {
			out.add(op, len(ops)-i)
		}
	}
}

// passes reports whether an operation may go to the log now; if not, it stands
// in line, or has been answered.
func (b *builder) passes(op *queue.Operation, now time.Time) bool {
	for i, c := range op.Each {
		_, wants := b.table.Wants(c)
		switch {
		case !wants:
		case op.Wait != nil: // a group has none
			b.waiters.ask(op, now)
			return false
		case !b.waiters.passes(op, i, c):
			return false
		}
	}
	return true
}

func (r *batch) add(op *queue.Operation, left int) {
	if r.all == nil {
		r.all = make([]*queue.Operation, 0, left)
	}
	r.all = append(r.all, op)
	r.count += op.Count()
	r.bytes += op.Size()
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
	if op.RequestID != "" {
		r.requests[requestOf(&op.Operation)] = true
	}
}

// fill puts the batch into the draft: extends first, then claims for names that
// are free or end at the stamp, then the rest, each claim of a waiter directly
// behind what frees its name.
func (b *builder) fill(r batch, stamp state.Time) {
	extends := 0
	for extends < len(r.all) && r.all[extends].Lane == state.LaneExtend {
		b.draft.add(r.all[extends])
		extends++
	}
	if b.waiters.len() == 0 {
		for _, op := range r.all[extends:] {
			b.draft.add(op)
		}
		return
	}
	b.draft.room, b.draft.space = state.MaxOperations-r.count, state.MaxEntryBytes-64-r.bytes
	b.claimFreed(stamp)
	var before []state.Command
	for i := extends; i < len(r.all); i++ {
		op := r.all[i]
		b.draft.add(op)
		if i < r.alone {
			continue
		}
		for _, c := range op.Each {
			frees := b.table.Frees(before, c, stamp)
			before = append(before, c)
			if !frees {
				continue
			}
			if l := b.waiters.lines[c.About().Key]; l != nil {
				b.claim(b.waiters.first(l, false))
			}
		}
	}
}

// claimFreed puts in the claims for names that are free, or will be at the
// stamp, and those that pass their lines.
func (b *builder) claimFreed(stamp state.Time) {
	if due, can := b.config.State.Due(); can && due <= stamp {
		for _, k := range b.table.Ends(stamp, state.MaxEndings) {
			b.waiters.look(k)
		}
	}
	for _, l := range b.waiters.looked() {
		if free, until := b.table.Free(l.key, stamp); free {
			b.claim(b.waiters.first(l, true))
		} else {
			l.next = until
		}
	}
	for _, w := range b.waiters.jumping() {
		b.claim(w)
	}
}

// claim puts a waiter's claim into the draft. Without room its name is looked at
// again for the next entry.
func (b *builder) claim(w *waiter) {
	if w == nil {
		return
	}
	op := w.newest()
	if b.draft.room <= 0 || b.draft.space < op.Size() {
		b.waiters.look(w.line.key)
		return
	}
	if b.draft.waits == nil {
		b.draft.waits = map[int]request{}
	}
	b.draft.waits[len(b.draft.ops)] = w.id
	b.draft.add(op)
	b.draft.room--
	b.draft.space -= op.Size()
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
