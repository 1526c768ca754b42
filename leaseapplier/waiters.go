package leaseapplier

import (
	"bytes"
	"slices"
	"time"

	"github.com/interrex/interrex"
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
	table  state.Waitable
	census *census
	lines  map[interrex.Key]*line
	byID   map[request]*waiter
	looks  []*line   // whose name may be free
	jumps  []*waiter // have asked, and may pass the line
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

func newWaiters(around surroundings, table state.Waitable, c *census) *waiters {
	return &waiters{around: around, table: table, census: c, lines: map[interrex.Key]*line{}, byID: map[request]*waiter{}}
}

func (s *waiters) len() int { return len(s.byID) }

// ask takes one asking of a claim that waits.
func (s *waiters) ask(op *queue.Operation, now time.Time) {
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
	k := op.Command.About().Key
	l := s.lines[k]
	if s.len() >= maxWaiters || l != nil && len(l.waiters) >= maxWaitersPerKey {
		s.refuse(op, errCrowded(k))
		return
	}
	s.jumps = append(s.jumps, s.join(id, op, k, now))
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
		s.jumps = append(s.jumps, w) // it may have become the holder by a transfer
	case len(w.ops) >= maxSharers:
		s.refuse(op, errCrowded(w.line.key))
	default:
		w.ops = append(w.ops, op)
	}
}

// passes reports whether an operation may go to the log with a claim that does
// not wait, its command at index i; if not, it has been answered. While somebody
// waits for the name the claim is `held`, but not while an attempt of it is in
// the log, which may be granted yet.
func (s *waiters) passes(op *queue.Operation, i int, c state.Command) bool {
	k := c.About().Key
	l := s.lines[k]
	if l == nil || !s.isAlive(l) {
		return true
	}
	if r, found := s.around.recorded(op); found {
		s.around.answer(op, r)
		return false
	}
	if s.table.Passes(c) {
		return true
	}
	if op.RequestID != "" && s.around.inLog(requestOf(&op.Operation)) {
		return true
	}
	err := s.errHeld(k, "others wait for it")
	if len(op.Group) > 0 {
		err = state.InGroup(i, err)
	}
	s.refuse(op, err)
	return false
}

// look notes that the name may be free.
func (s *waiters) look(k interrex.Key) {
	if l := s.lines[k]; l != nil && !l.looking {
		l.looking = true
		s.looks = append(s.looks, l)
	}
}

// looked returns the lines whose name may be free, and forgets them.
func (s *waiters) looked() []*line {
	out := s.looks
	s.looks = nil
	for _, l := range out {
		l.looking = false
	}
	return out
}

// first returns the waiter whose claim is to be put behind what frees the name:
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

// jumping returns, once, the waiters that have asked and pass the line:
// takeovers by the name's holder.
func (s *waiters) jumping() []*waiter {
	var out []*waiter
	for _, w := range s.jumps {
		if s.byID[w.id] == w && s.table.Passes(w.newest().Command) && !s.around.inLog(w.id) {
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

func (s *waiters) refuse(op *queue.Operation, err error) {
	s.around.answer(op, state.Result{Attempt: op.Attempt, Err: err})
}

// errHeld says who holds the name, for how long, and how many wait.
func (s *waiters) errHeld(k interrex.Key, why string) error {
	e := s.table.Taken(k, s.around.clusterNow(), why)
	e.Waiting = s.census.waiting(k)
	return e
}

// nothingWaits stands in when no table's operations may wait.
type nothingWaits struct{}

func (nothingWaits) Wants(state.Command) (time.Duration, bool)             { return 0, false }
func (nothingWaits) Passes(state.Command) bool                             { return false }
func (nothingWaits) Frees([]state.Command, state.Command, state.Time) bool { return false }
func (nothingWaits) Free(interrex.Key, state.Time) (bool, state.Time)      { return true, 0 }
func (nothingWaits) Ends(state.Time, int) []interrex.Key                   { return nil }
func (nothingWaits) Taken(k interrex.Key, _ state.Time, why string) *interrex.Error {
	return interrex.Errorf(interrex.KindHeld, "cannot have %s: %s", k, why)
}
