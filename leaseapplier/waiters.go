package leaseapplier

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/validation"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/state"
)

// Limits of the claims that wait. Each costs the leader about 1 KiB.
const (
	maxWaiters       = 65536 // in all
	maxWaitersPerKey = 256
	maxSharers       = 16 // calls that share one attempt's answer
)

// missedRetries is how many retries a waiter may miss.
const missedRetries = 3

const (
	// sweepInterval is how often the waiters are swept without an event.
	sweepInterval = 100 * time.Millisecond
	// minSweepInterval is the minimum time between sweeps, so that waits that end
	// close together share one.
	minSweepInterval = 5 * time.Millisecond
)

// leader is the part of the proposer that the waiters use.
type leader interface {
	// inLog reports whether an attempt of a request is in the log and not yet known
	// to be applied.
	inLog(request) bool
	clusterNow() state.Time
}

// waiters is the claims that wait for a key that is taken: a line for each key, first
// come, first served. They are only in the leader's memory, and used by one
// goroutine. The rules are those of a claim with `wait` in docs/semantics.md;
// the model in model_test.go shows why each is needed.
type waiters struct {
	config  *Config
	table   state.Waitable
	counts  *waiterCounts
	answers *answers
	leader  leader

	lines     map[interrex.Key]*line
	byID      map[request]*waiter
	rechecks  []*line   // whose key may be free
	takeovers []*waiter // with a new attempt, which may be a takeover by the holder
	serial    uint64
	dropped   uint64 // names, when the waiters were last searched for those without one
}

// line is the waiters for one key, in the order in which they came.
type line struct {
	key     interrex.Key
	waiters []*waiter
	recheck bool       // it is in rechecks
	freeAt  state.Time // the key is not free before this, as far as is known
}

// waiter is a claim that waits.
type waiter struct {
	id       request
	line     *line
	ops      []*queue.Operation // the calls of its newest attempt, at least one
	lastSeen time.Time          // when its newest attempt arrived
}

func (w *waiter) newest() *queue.Operation { return w.ops[0] }

// endsAt returns when its wait has run out, or it has missed too many retries.
func (w *waiter) endsAt() time.Time {
	wait := w.newest().Wait
	missed := w.lastSeen.Add(missedRetries * wait.Every)
	if wait.Every > 0 && missed.Before(wait.Until) {
		return missed
	}
	return wait.Until
}

// request identifies a request by its caller, its holder and its request id, or by a
// unique number when it has no id.
type request struct {
	caller, holder, id string
	serial             uint64
}

func requestOf(op *queue.Operation) request {
	r := request{caller: op.Caller, id: op.RequestID}
	if op.Command != nil {
		r.holder = op.Command.About().Holder
	}
	return r
}

func (s *waiters) len() int { return len(s.byID) }

// add adds one attempt of a claim that waits.
func (s *waiters) add(op *queue.Operation, now time.Time) {
	if r, found := s.config.State.Recorded(&op.Operation); found {
		s.answers.answer(op, r)
		return
	}
	id := requestOf(op)
	if op.RequestID == "" {
		s.serial++
		id = request{serial: s.serial}
	}
	if w := s.byID[id]; w != nil {
		s.retry(w, op, now)
		return
	}
	k := op.Command.About().Key
	l := s.lines[k]
	if s.len() >= maxWaiters || l != nil && len(l.waiters) >= maxWaitersPerKey {
		s.answers.refuse(op, errTooManyWaiters(k))
		return
	}
	s.join(id, op, k, now)
}

func (s *waiters) join(id request, op *queue.Operation, k interrex.Key, now time.Time) {
	l := s.lines[k]
	if l == nil {
		l = &line{key: k}
		s.lines[k] = l
	}
	w := &waiter{id: id, line: l, ops: []*queue.Operation{op}, lastSeen: now}
	l.waiters = append(l.waiters, w)
	s.byID[id] = w
	s.counts.set(k, len(l.waiters))
	s.reconsider(w)
}

// retry adds a further attempt of a waiter's request.
func (s *waiters) retry(w *waiter, op *queue.Operation, now time.Time) {
	newest := w.newest()
	switch {
	case !bytes.Equal(op.Data, newest.Data):
		s.answers.refuse(op, interrex.Errorf(interrex.ErrInvalid,
			"request_id: %q is the id of another claim that waits", op.RequestID))
	case op.Attempt < newest.Attempt:
		s.answers.refuse(op, s.errReplaced(w))
	case op.Attempt > newest.Attempt:
		older := w.ops
		w.ops, w.lastSeen = []*queue.Operation{op}, now
		for _, o := range older {
			s.answers.refuse(o, s.errReplaced(w))
		}
		s.reconsider(w) // a transfer may have made it the holder
	case len(w.ops) >= maxSharers:
		s.answers.refuse(op, errTooManyWaiters(w.line.key))
	default:
		w.ops = append(w.ops, op)
	}
}

// pass reports whether an operation with a claim that does not wait, its command at
// index i, goes to the log; if not, it has been answered. While others wait for the
// key the claim is `held`, unless an attempt of it is in the log, which may still be
// granted.
func (s *waiters) pass(op *queue.Operation, i int, c state.Command) bool {
	k := c.About().Key
	l := s.lines[k]
	if l == nil || !s.isAlive(l) {
		return true
	}
	if r, found := s.config.State.Recorded(&op.Operation); found {
		s.answers.answer(op, r)
		return false
	}
	if s.table.Passes(c) {
		return true
	}
	if op.RequestID != "" && s.leader.inLog(requestOf(op)) {
		return true
	}
	err := s.errHeld(k, "others are waiting for it")
	if len(op.Group) > 0 {
		err = validation.InGroup(i, err)
	}
	s.answers.refuse(op, err)
	return false
}

// recheck records that a key may be free.
func (s *waiters) recheck(k interrex.Key) {
	if l := s.lines[k]; l != nil && !l.recheck {
		l.recheck = true
		s.rechecks = append(s.rechecks, l)
	}
}

// takeRechecks returns the lines whose key may be free, and clears that list.
func (s *waiters) takeRechecks() []*line {
	out := s.rechecks
	s.rechecks = nil
	for _, l := range out {
		l.recheck = false
	}
	return out
}

// only returns the first waiter of a line, for a key that is free, if no claim of
// the line is in the log.
func (s *waiters) only(l *line) *waiter {
	if s.isAlive(l) && !s.leader.inLog(l.waiters[0].id) {
		return l.waiters[0]
	}
	return nil
}

// next returns the first waiter for a key that is not in the log, for a claim
// behind what frees the key.
func (s *waiters) next(k interrex.Key) *waiter {
	l := s.lines[k]
	if l == nil || !s.isAlive(l) {
		return nil
	}
	for _, w := range l.waiters {
		if !s.leader.inLog(w.id) {
			return w
		}
	}
	return nil
}

// takeTakeovers returns, once, the waiters that overtake their lines: takeovers by
// the holder.
func (s *waiters) takeTakeovers() []*waiter {
	var out []*waiter
	for _, w := range s.takeovers {
		if s.byID[w.id] == w && !slices.Contains(out, w) && s.table.Passes(w.newest().Command) && !s.leader.inLog(w.id) {
			out = append(out, w)
		}
	}
	s.takeovers = nil
	return out
}

// reconsider makes the next entry check whether to claim for w.
func (s *waiters) reconsider(w *waiter) {
	s.recheck(w.line.key)
	s.takeovers = append(s.takeovers, w)
}

// notApplied handles a claim for a request that did not enter the log.
func (s *waiters) notApplied(id request) {
	if w := s.byID[id]; w != nil {
		s.reconsider(w)
	}
}

// applied handles the result of a claim for a request.
func (s *waiters) applied(id request, r state.Result) {
	w := s.byID[id]
	if w == nil {
		return
	}
	if interrex.KindOf(r.Err) != interrex.ErrHeld {
		s.remove(w, r)
	}
}

// sweep ends the waits that are over, finds keys that have become free, and returns
// when it must be called again.
func (s *waiters) sweep(now time.Time) time.Time {
	next := now.Add(sweepInterval)
	dropped := s.config.State.DroppedNames()
	search := dropped != s.dropped
	s.dropped = dropped
	for _, w := range s.byID {
		s.dropCanceled(w)
		if search && s.byID[w.id] == w {
			s.dropNameless(w)
		}
		if s.byID[w.id] != w {
			continue
		}
		if end := w.endsAt(); now.Before(end) {
			next = earlier(next, end)
			continue
		}
		s.end(w, now)
	}
	cluster := s.leader.clusterNow()
	for k, l := range s.lines {
		if l.freeAt <= cluster {
			s.recheck(k)
		}
	}
	if soonest := now.Add(minSweepInterval); next.Before(soonest) {
		return soonest
	}
	return next
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// end removes a waiter whose wait is over, unless an attempt of it is in the log,
// which may still be granted. A retry does not count as missed while it may be in the
// queue.
func (s *waiters) end(w *waiter, now time.Time) {
	switch {
	case s.leader.inLog(w.id):
	case !now.Before(w.newest().Wait.Until):
		s.remove(w, state.Result{Err: s.errHeld(w.line.key, "the wait has run out")})
	case !s.hasBacklog():
		s.remove(w, state.Result{Err: errMissed(w.line.key)})
	}
}

// hasBacklog reports whether attempts may wait in the queue.
func (s *waiters) hasBacklog() bool {
	normal, _ := s.config.Queue.Depth()
	return normal > 0
}

// isAlive removes the waiters of a line whose callers have given up, and reports
// whether any is left.
func (s *waiters) isAlive(l *line) bool {
	for _, w := range slices.Clone(l.waiters) {
		s.dropCanceled(w)
	}
	return len(l.waiters) > 0
}

// dropCanceled answers the calls of w whose callers have given up, and removes w if
// none is left.
func (s *waiters) dropCanceled(w *waiter) {
	if !slices.ContainsFunc(w.ops, (*queue.Operation).Gone) {
		return
	}
	var gone, stay []*queue.Operation
	for _, op := range w.ops {
		if op.Gone() {
			gone = append(gone, op)
		} else {
			stay = append(stay, op)
		}
	}
	err := s.errRemoved(w, interrex.Errorf(interrex.ErrTimeout, "cannot claim %s: its caller gave up", w.line.key).WithCause(queue.ErrCanceled))
	if len(stay) == 0 {
		s.remove(w, state.Result{Err: err})
		return
	}
	w.ops = stay
	for _, op := range gone {
		s.answers.refuse(op, err)
	}
}

// dropNameless removes w if the name of its request id is gone. One that is in the log is
// looked at again.
func (s *waiters) dropNameless(w *waiter) {
	r, over := s.config.State.Over(&w.newest().Operation, nil)
	switch {
	case !over:
	case s.leader.inLog(w.id):
		s.dropped--
	default:
		s.remove(w, r)
	}
}

// remove removes w from its line and answers it.
func (s *waiters) remove(w *waiter, r state.Result) {
	l := w.line
	l.waiters = slices.DeleteFunc(l.waiters, func(o *waiter) bool { return o == w })
	delete(s.byID, w.id)
	if len(l.waiters) == 0 {
		delete(s.lines, l.key)
	} else {
		s.recheck(l.key)
	}
	s.counts.set(l.key, len(l.waiters))
	for _, op := range w.ops {
		s.answers.answer(op, r)
	}
}

// removeAll removes all waiters: this agent no longer leads. Claims in the log may
// still be granted.
func (s *waiters) removeAll(err error) {
	for _, w := range s.byID {
		s.remove(w, state.Result{Err: s.errRemoved(w, err)})
	}
	s.rechecks, s.takeovers = nil, nil
}

// errRemoved returns err, or an error with an unknown outcome if a claim of w is in
// the log. The latter quotes err and does not wrap it, because a NotLeaderError or
// queue.ErrCanceled would mean that nothing has happened.
func (s *waiters) errRemoved(w *waiter, err error) error {
	if s.leader.inLog(w.id) {
		return errUnknown(fmt.Sprintf("its claim is in the log, and its wait ended: %v", err), nil)
	}
	return err
}

// errReplaced returns the error of an attempt of w that is not the newest one. It may
// have been granted while a claim of its request is in the log.
func (s *waiters) errReplaced(w *waiter) error {
	const why = "a later attempt of this request is waiting"
	if s.leader.inLog(w.id) {
		return errUnknown(why+", and its claim is in the log", nil)
	}
	return s.errHeld(w.line.key, why)
}

// errHeld returns an error with the key's holder, the remaining time, and the number
// of waiters.
func (s *waiters) errHeld(k interrex.Key, why string) error {
	e := s.table.Taken(k, s.leader.clusterNow(), why)
	e.Waiting = s.counts.of(k)
	return e
}

// nothingWaits is used when there is no table whose operations may wait.
type nothingWaits struct{}

func (nothingWaits) Wants(state.Command) (time.Duration, bool)             { return 0, false }
func (nothingWaits) Passes(state.Command) bool                             { return false }
func (nothingWaits) Frees([]state.Command, state.Command, state.Time) bool { return false }
func (nothingWaits) Free(interrex.Key, state.Time) (bool, state.Time)      { return true, 0 }
func (nothingWaits) Ends(state.Time, int) []interrex.Key                   { return nil }
func (nothingWaits) Taken(k interrex.Key, _ state.Time, why string) *interrex.Error {
	return interrex.Errorf(interrex.ErrHeld, "cannot have %s: %s", k, why)
}
