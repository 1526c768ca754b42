package leaseapplier

import (
	"bytes"
	"slices"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/lease"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/state"
)

// Limits of the claims that wait. Each costs the leader about 1 KiB.
const (
	maxWaiters       = 65536 // in all
	maxWaitersPerKey = 256
	maxSharers       = 16 // calls that share one attempt's answer
)

// missedAskings is how many askings a waiter may miss.
const missedAskings = 3

// patrol is how often waiters are looked after while nothing else happens.
const patrol = 100 * time.Millisecond

// minPatrol keeps waits that end close together from being looked after one by
// one.
const minPatrol = 5 * time.Millisecond

// surroundings is what the waiters need to know of the leader around them.
type surroundings interface {
	// inLog reports whether an attempt of a request is in the log, and not yet
	// known to be applied.
	inLog(request) bool
	// unheard reports whether there may be askings that ask has not been told.
	unheard() bool
	// recorded looks for the record of an operation's request.
	recorded(*queue.Operation) (state.Result, bool)
	clusterNow() state.Time
	lease(interrex.Key) (lease.Record, bool)
	answer(*queue.Operation, state.Result)
}

// request tells requests apart: by caller and request id, or, where there is
// none, by a number of its own.
type request struct {
	caller, id string
	serial     uint64
}

func requestOf(op *state.Operation) request { return request{caller: op.Caller, id: op.RequestID} }

// waiters are the claims that wait for a name that is taken: a line for each
// name, first come first served. They live in the leader's memory alone; one
// goroutine owns them. The rules are those of a waiting claim in the contract;
// why each is needed can be tried there on a model.
type waiters struct {
	around surroundings
	census *census
	lines  map[interrex.Key]*line
	byID   map[request]*waiter
	looks  []*line   // whose name may be free
	jumps  []*waiter // takeovers by the holder, which pass the line
	serial uint64
}

// line is the waiters of one name.
type line struct {
	key     interrex.Key
	waiters []*waiter
	looking bool       // it is in looks
	next    state.Time // the name is not free before, as far as is known
}

// waiter is a claim that waits: the newest attempt, and whoever shares its
// answer.
type waiter struct {
	id    request
	line  *line
	ops   []*queue.Operation // at least one
	asked time.Time
}

func (w *waiter) newest() *queue.Operation { return w.ops[0] }

func newWaiters(around surroundings, c *census) *waiters {
	return &waiters{around: around, census: c, lines: map[interrex.Key]*line{}, byID: map[request]*waiter{}}
}

func (s *waiters) len() int { return len(s.byID) }

// ask takes one asking of a claim that waits.
func (s *waiters) ask(op *queue.Operation, c *lease.Claim, now time.Time) {
	if r, found := s.around.recorded(op); found {
		s.around.answer(op, r)
		return
	}
	id := requestOf(&op.Operation)
	if op.RequestID == "" {
		s.serial++
		id = request{serial: s.serial}
	}
	if w := s.byID[id]; w != nil {
		s.askAgain(w, op, now)
		return
	}
	l := s.lines[c.Key]
	if s.len() >= maxWaiters || l != nil && len(l.waiters) >= maxWaitersPerKey {
		s.refuse(op, errCrowded(c.Key))
		return
	}
	w := s.join(id, op, c.Key, now)
	if c.Takeover {
		s.jumps = append(s.jumps, w)
	}
}

func (s *waiters) join(id request, op *queue.Operation, k interrex.Key, now time.Time) *waiter {
	l := s.lines[k]
	if l == nil {
		l = &line{key: k}
		s.lines[k] = l
	}
	w := &waiter{id: id, line: l, ops: []*queue.Operation{op}, asked: now}
	l.waiters = append(l.waiters, w)
	s.byID[id] = w
	s.census.set(k, len(l.waiters))
	s.look(k)
	return w
}

// askAgain is an asking of a request that stands in line already. A caller
// believes a refusal of its newest attempt only, so an older one may be `held`.
func (s *waiters) askAgain(w *waiter, op *queue.Operation, now time.Time) {
	newest := w.newest()
	switch {
	case !bytes.Equal(op.Data, newest.Data):
		s.refuse(op, interrex.Errorf(interrex.KindInvalid,
			"request_id: %q stands for another claim already", op.RequestID))
	case op.Attempt < newest.Attempt:
		s.refuse(op, s.errHeld(w.line.key, "a later attempt of this request waits"))
	case op.Attempt > newest.Attempt:
		older := w.ops
		w.ops, w.asked = []*queue.Operation{op}, now
		for _, o := range older {
			s.refuse(o, s.errHeld(w.line.key, "a later attempt of this request waits"))
		}
		s.look(w.line.key)
	case len(w.ops) >= maxSharers:
		s.refuse(op, errCrowded(w.line.key))
	default:
		w.ops = append(w.ops, op)
	}
}

// passes reports whether a claim that does not wait may go to the log; if not,
// it has been answered. While somebody waits for the name it is `held`, but not
// while an attempt of it is in the log, which may be granted yet.
func (s *waiters) passes(op *queue.Operation, c *lease.Claim) bool {
	l := s.lines[c.Key]
	if l == nil || !s.isAlive(l) {
		return true
	}
	if r, found := s.around.recorded(op); found {
		s.around.answer(op, r)
		return false
	}
	if c.Takeover && s.isHolder(c) {
		return true
	}
	if op.RequestID != "" && s.around.inLog(requestOf(&op.Operation)) {
		return true
	}
	s.refuse(op, s.errHeld(c.Key, "others wait for it"))
	return false
}

func (s *waiters) isHolder(c *lease.Claim) bool {
	held, found := s.around.lease(c.Key)
	return found && held.Holder == c.Holder
}

// look notes that the name may be free.
func (s *waiters) look(k interrex.Key) {
	if l := s.lines[k]; l != nil && !l.looking {
		l.looking = true
		s.looks = append(s.looks, l)
	}
}

// looked gives the lines whose name may be free, and forgets them.
func (s *waiters) looked() []*line {
	out := s.looks
	s.looks = nil
	for _, l := range out {
		l.looking = false
	}
	return out
}

// first gives the waiter whose claim is to be put behind what frees the name:
// the first living one that is not in the log. When alone, nobody of the line
// may be in the log.
func (s *waiters) first(l *line, alone bool) *waiter {
	s.isAlive(l)
	for _, w := range l.waiters {
		if !s.around.inLog(w.id) {
			return w
		}
		if alone {
			return nil
		}
	}
	return nil
}

// jumping gives, once, the takeovers by the name's holder, which pass the line.
func (s *waiters) jumping() []*waiter {
	var out []*waiter
	for _, w := range s.jumps {
		c, ok := command(w.newest()).(*lease.Claim)
		if s.byID[w.id] == w && ok && s.isHolder(c) && !s.around.inLog(w.id) {
			out = append(out, w)
		}
	}
	s.jumps = nil
	return out
}

// isAlive lets whoever has gone leave the line, and reports whether somebody
// stays.
func (s *waiters) isAlive(l *line) bool {
	for _, w := range slices.Clone(l.waiters) {
		s.dropGone(w)
	}
	return len(l.waiters) > 0
}

// dropGone answers the calls of w that have ended; with the last one, w leaves.
func (s *waiters) dropGone(w *waiter) {
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
	err := s.errLeft(w, interrex.Errorf(interrex.KindTimeout, "cannot claim %s: its caller went", w.line.key).WithCause(queue.ErrCanceled))
	if len(stay) == 0 {
		s.leave(w, state.Result{Err: err})
		return
	}
	w.ops = stay
	for _, op := range gone {
		s.refuse(op, err)
	}
}

// applied takes what became of a claim that was put into the log for a request.
func (s *waiters) applied(id request, r state.Result) {
	w := s.byID[id]
	if w == nil {
		return
	}
	if interrex.KindOf(r.Err) != interrex.KindHeld {
		s.leave(w, r)
	}
}

// tidy ends the waits that are over, looks for names that have become free, and
// says when it wants to be called again.
func (s *waiters) tidy(now time.Time) time.Time {
	next := now.Add(patrol)
	for _, w := range s.byID {
		s.dropGone(w)
		if s.byID[w.id] == w {
			next = s.tidyOne(w, now, next)
		}
	}
	cluster := s.around.clusterNow()
	for k, l := range s.lines {
		if l.next <= cluster {
			s.look(k)
		}
	}
	return maxTime(next, now.Add(minPatrol))
}

// tidyOne ends a wait that is over: only while no attempt of it is in the log,
// for that one may be granted yet. It gives the earlier of next and the time at
// which the wait will be over.
func (s *waiters) tidyOne(w *waiter, now, next time.Time) time.Time {
	wait := w.newest().Wait
	end := wait.Until
	missed := w.asked.Add(missedAskings * wait.Every)
	if wait.Every > 0 && missed.Before(end) {
		end = missed
	}
	if now.Before(end) {
		if end.Before(next) {
			return end
		}
		return next
	}
	switch {
	case s.around.inLog(w.id):
	case !now.Before(wait.Until):
		s.leave(w, state.Result{Err: s.errHeld(w.line.key, "the wait has run out")})
	case !s.around.unheard():
		s.leave(w, state.Result{Err: errMissed(w.line.key)})
	}
	return next
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// leave takes w out of its line and answers it.
func (s *waiters) leave(w *waiter, r state.Result) {
	l := w.line
	l.waiters = slices.DeleteFunc(l.waiters, func(o *waiter) bool { return o == w })
	delete(s.byID, w.id)
	if len(l.waiters) == 0 {
		delete(s.lines, l.key)
	} else {
		s.look(l.key)
	}
	s.census.set(l.key, len(l.waiters))
	for _, op := range w.ops {
		s.around.answer(op, r)
	}
}

// leaveAll ends the line of every name: this agent leads no longer. Whoever is
// in the log may be granted yet.
func (s *waiters) leaveAll(err error) {
	for _, w := range s.byID {
		s.leave(w, state.Result{Err: s.errLeft(w, err)})
	}
	s.looks, s.jumps = nil, nil
}

// errLeft is err, unless a claim of w is in the log: then nobody can say that
// nothing happened.
func (s *waiters) errLeft(w *waiter, err error) error {
	if s.around.inLog(w.id) {
		return errUnknown("its claim is in the log", err)
	}
	return err
}

func (s *waiters) refuse(op *queue.Operation, err error) {
	s.around.answer(op, state.Result{Attempt: op.Attempt, Err: err})
}

// errHeld says who holds the name, for how long, and how many wait.
func (s *waiters) errHeld(k interrex.Key, why string) error {
	held, found := s.around.lease(k)
	if !found {
		e := interrex.Errorf(interrex.KindHeld, "cannot claim %s: %s", k, why)
		e.Waiting = s.census.waiting(k)
		return e
	}
	e := interrex.Errorf(interrex.KindHeld, "cannot claim %s: %q holds it, and %s", k, held.Holder, why)
	e.Holder, e.HeldSince, e.Waiting = held.Holder, held.Acquired, s.census.waiting(k)
	if !held.Pinned() {
		e.Remaining = max(0, held.Expiry.Sub(s.around.clusterNow()))
	}
	return e
}

func errCrowded(k interrex.Key) error {
	e := interrex.Errorf(interrex.KindOverloaded,
		"cannot wait for %s: at most %d claims may wait for a name, and %d in all", k, maxWaitersPerKey, maxWaiters)
	e.RetryAfter = time.Second
	return e
}

func errMissed(k interrex.Key) error {
	e := interrex.Errorf(interrex.KindUnavailable,
		"cannot wait for %s any longer: its caller has not asked again %d times; nothing has happened, ask again", k, missedAskings)
	e.RetryAfter = retryAfter
	return e
}
