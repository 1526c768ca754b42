package leaseapplier

import (
	"time"

	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/state"
)

// claimsRoom is how many of an entry's operations are reserved for claims of waiters
// while there are waiters.
const claimsRoom = limits.MaxOperations / 4

// draft makes an entry from the operations in the queue and the waiters' claims.
// Operations that it has taken and not yet passed to raft are answered if the Applier
// fails.
type draft struct {
	config  *Config
	table   state.Waitable
	waiters *waiters

	entry *proposal          // nil: there is none
	taken []*queue.Operation // from the queue
	batch batch              // the part of taken that goes into the entry
	room  int                // operations left for claims of waiters
	space int                // bytes left for the same
}

// begin starts an entry with a batch from the queue.
func (d *draft) begin(term uint64) {
	d.entry = &proposal{term: term}
	d.take()
	d.sort()
}

// take takes a batch from the queue.
func (d *draft) take() {
	ops := limits.MaxOperations
	if d.waiters.len() > 0 {
		ops -= claimsRoom
	}
	d.taken = d.config.Queue.Take(ops, limits.BatchBytes)
}

// sort passes claims that may wait to the waiters, and refuses claims that do not
// wait and may not overtake them. The rest is the batch.
func (d *draft) sort() {
	now := d.config.Clock.Now()
	for i, op := range d.taken {
		if op.Wait == nil && d.waiters.len() == 0 {
			if d.batch.unaffected == len(d.batch.ops) {
				d.batch.unaffected++
			}
			d.batch.add(op, len(d.taken)-i)
			continue
		}
		if d.passes(op, now) {
			d.batch.add(op, len(d.taken)-i)
		}
	}
}

// passes reports whether an operation goes into the entry; if not, it waits or has
// been answered.
func (d *draft) passes(op *queue.Operation, now time.Time) bool {
	for i, c := range op.Each {
		_, wants := d.table.Wants(c)
		switch {
		case !wants:
		case op.Wait != nil: // a group has none
			d.waiters.add(op, now)
			return false
		case !d.waiters.pass(op, i, c):
			return false
		}
	}
	return true
}

// fill puts the batch into the entry: extends first, then claims for keys that
// are free or end at the stamp, then the rest, with a waiter's claim directly
// behind each operation that frees its key.
func (d *draft) fill(stamp state.Time) {
	ops, extends := d.batch.ops, 0
	for extends < len(ops) && ops[extends].Extend {
		d.entry.add(ops[extends])
		extends++
	}
	if d.waiters.len() == 0 {
		for _, op := range ops[extends:] {
			d.entry.add(op)
		}
		return
	}
	d.room, d.space = limits.MaxOperations-d.batch.count, limits.MaxEntryBytes-64-d.batch.bytes
	d.claimFree(stamp)
	var before []state.Command
	for i := extends; i < len(ops); i++ {
		d.entry.add(ops[i])
		if i < d.batch.unaffected {
			continue
		}
		for _, c := range ops[i].Each {
			frees := d.table.Frees(before, c, stamp)
			before = append(before, c)
			if frees {
				d.claim(d.waiters.next(c.About().Key))
			}
		}
	}
}

// claimFree adds the claims for keys that are free, or will be at the stamp, and
// those that overtake the other waiters.
func (d *draft) claimFree(stamp state.Time) {
	if due, can := d.config.State.Due(); can && due <= stamp {
		for _, k := range d.table.Ends(stamp, limits.MaxEndings) {
			d.waiters.recheck(k)
		}
	}
	for _, l := range d.waiters.takeRechecks() {
		if free, until := d.table.Free(l.key, stamp); free {
			d.claim(d.waiters.only(l))
		} else {
			l.freeAt = until
		}
	}
	for _, w := range d.waiters.takeTakeovers() {
		d.claim(w)
	}
}

// claim adds a waiter's claim. If there is no room left, the next entry retries.
func (d *draft) claim(w *waiter) {
	if w == nil {
		return
	}
	size := w.newest().Size()
	if d.room <= 0 || d.space < size {
		d.waiters.reconsider(w)
		return
	}
	d.entry.addClaim(w)
	d.room--
	d.space -= size
}

// has reports whether an attempt of a request is in the entry, or will be.
func (d *draft) has(id request) bool {
	return d.entry != nil && d.entry.claimsFor(id) || d.batch.has(id)
}

// reset discards the entry: raft has it, or it is empty.
func (d *draft) reset() {
	d.entry, d.taken, d.batch = nil, nil, batch{}
}

// batch is the operations taken from the queue, without those that wait or were
// refused.
type batch struct {
	ops        []*queue.Operation
	count      int              // of their commands
	bytes      int              // at least their size in an entry
	unaffected int              // number of operations, at the front, that came while there were no waiters
	requests   map[request]bool // of ops; made when needed
}

// add appends an operation; left is how many may still come, including it.
func (b *batch) add(op *queue.Operation, left int) {
	if b.ops == nil {
		b.ops = make([]*queue.Operation, 0, left)
	}
	b.ops = append(b.ops, op)
	b.count += op.Count()
	b.bytes += op.Size()
	if b.requests != nil {
		b.note(op)
	}
}

// has reports whether an attempt of a request is in the batch.
func (b *batch) has(id request) bool {
	if b.requests == nil && len(b.ops) > 0 {
		b.requests = make(map[request]bool, len(b.ops))
		for _, op := range b.ops {
			b.note(op)
		}
	}
	return b.requests[id]
}

func (b *batch) note(op *queue.Operation) {
	if op.RequestID != "" {
		b.requests[requestOf(op)] = true
	}
}
