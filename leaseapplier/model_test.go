package leaseapplier

import (
	"fmt"
	"slices"
	"strings"

	"github.com/interrex/interrex"
)

// model implements docs/semantics.md on a claim with `wait`, for one key, a state and
// its leader, as simply as possible: a line is a slice, nothing is cached, and nothing
// is concurrent. Times are milliseconds.
//
// It can read any one of its rules wrongly: see readings in scenario_test.go. The
// real Applier does what the model does in every scenario, and no wrong reading
// does.
type model struct {
	wrong string // the rule that is read wrongly; empty: none

	now int

	// The replicated state.
	lease   *modelLease
	stamp   int // cluster time
	token   int // newest
	records map[string]modelRecord
	marks   map[string]int

	// Raft's log.
	holds   bool // it answers nothing
	refuses bool // it does not take the next entry
	entry   *modelEntry
	written []string // entries with operations

	// The leader.
	leads, ready, paused bool
	base, since          int
	queue                []*modelCall
	line                 []*modelWaiter

	calls      []*modelCall
	lastTokens map[string]int
	callers    callers
	lastEvent  int
	lastFuzzy  bool
	unclear    bool // two things happen so close together that either may be first
}

type modelLease struct {
	holder string
	token  int
	expiry int // cluster time
	pins   map[string]bool
}

type modelRecord struct{ attempt, token int }

// modelCall is one attempt of a request, and its answer.
type modelCall struct {
	attempt
	token  int
	gone   bool
	answer string
}

// modelWaiter is a claim that waits: the calls of its newest attempt.
type modelWaiter struct {
	calls []*modelCall
	seen  int
	fresh bool // its newest attempt has not been in an entry
	late  int  // it may go, at this time or a little before or after it; 0: not late
}

func (w *modelWaiter) newest() *modelCall { return w.calls[0] }

type modelEntry struct {
	stamp int
	ops   []*modelCall
	waits map[int]string // which of them are claims of waiters
}

const (
	modelTTL  = 987 // so short that no stamp is written but when it ends
	never     = 1 << 40
	modelTick = 6   // closer than this, the order of two events is not fixed
	modelLag  = 110 // nor is it where a waiter's end was not noticed in time
)

func newModel(wrong string) *model {
	return &model{
		wrong: wrong, records: map[string]modelRecord{}, marks: map[string]int{}, lastTokens: map[string]int{},
		callers: newCallers(), leads: true, ready: true, lastEvent: -1000,
	}
}

func (m *model) reads(rule string) bool { return m.wrong == rule }

// do carries out one step of a scenario, and what happens in the time after it.
func (m *model) do(s step) {
	switch s.verb {
	case "hold":
		m.holds = true
	case "free":
		m.holds = false
	case "refuse":
		m.refuses = true
	case "lose", "lose all":
		m.lose(s.verb == "lose")
	case "lead":
		if !m.leads {
			m.leads, m.ready, m.paused = true, m.reads("a leader takes claims before its predecessors' entries are applied"), false
			m.base, m.since = m.stamp, m.now
		}
	case "cancel":
		m.cancel(m.callers.last[s.who])
	}
	if a := m.callers.send(s, m.now); a != nil {
		c := &modelCall{attempt: *a, token: m.tokenOf(a.holder)}
		m.calls = append(m.calls, c)
		m.queue = append(m.queue, c)
	}
	m.settle()
	m.pass(s.lasts())
}

// tokenOf is the token that a holder knows.
func (m *model) tokenOf(holder string) int {
	if m.lease != nil && m.lease.holder == holder {
		m.lastTokens[holder] = m.lease.token
	}
	return m.lastTokens[holder]
}

// settle does what can be done without time passing.
func (m *model) settle() {
	for range 100 { // a wrong reading may not terminate
		if !m.leads {
			for _, c := range m.queue {
				kind := interrex.ErrNotLeader
				if c.gone {
					kind = interrex.ErrTimeout
				}
				m.answer(c, kind, c.n)
			}
			m.queue = nil
			return
		}
		if !m.holds {
			if m.entry != nil {
				m.applied(m.apply(m.entry))
			}
			if m.paused = false; !m.ready {
				m.ready, m.base, m.since = true, m.stamp, m.now
			}
		}
		if !m.ready || m.paused || m.entry != nil || !m.propose() {
			break
		}
	}
	for _, w := range m.line {
		if w.late == 0 && m.now >= m.endOf(w) && m.mayEnd(w, m.now) {
			w.late = m.now + modelLag/2
		}
	}
}

// pass lets time pass: leases and waits end.
func (m *model) pass(d int) {
	end := m.now + d
	for {
		at, fuzzy, waiter := end+1, false, (*modelWaiter)(nil)
		if m.leads && m.ready && !m.paused && m.entry == nil && m.lease != nil && len(m.lease.pins) == 0 {
			at = max(m.now, m.since+m.lease.expiry-m.base)
		}
		for _, w := range m.line {
			if ends, isFuzzy := m.leavesAt(w); ends < at {
				at, fuzzy, waiter = ends, isFuzzy, w
			}
		}
		if at > end {
			break
		}
		m.event(at, fuzzy)
		if m.now = at; waiter != nil {
			m.end(waiter)
		}
		m.settle()
	}
	if end-m.lastEvent < modelTick || m.lastFuzzy && end-m.lastEvent < modelLag/2 {
		m.unclear = true
	}
	for _, w := range m.line {
		if at, fuzzy := m.leavesAt(w); fuzzy && at-modelLag/2 < end+modelTick {
			m.unclear = true
		}
	}
	m.now = end
}

// leavesAt returns when a waiter leaves because its time is over, in the present
// state, and whether that may be a little earlier or later.
func (m *model) leavesAt(w *modelWaiter) (at int, fuzzy bool) {
	at = max(m.endOf(w), w.late, m.now)
	switch {
	case m.mayEnd(w, at):
		return at, w.late > 0
	case m.mayEnd(w, w.newest().until):
		return max(w.newest().until+modelLag/2, m.now), true
	}
	return never, false
}

// event notes that something happens by itself.
func (m *model) event(at int, fuzzy bool) {
	gap := modelTick
	if fuzzy || m.lastFuzzy {
		gap = modelLag
	}
	if at-m.lastEvent < gap {
		m.unclear = true
	}
	m.lastEvent, m.lastFuzzy = at, fuzzy
}

// endOf returns when a wait has run out, or three retries have been missed.
func (m *model) endOf(w *modelWaiter) int {
	c := w.newest()
	every := c.every
	if m.reads("a caller that does not retry has missed its retries") {
		every = max(every, 200)
	}
	if every == 0 || m.reads("a waiter that misses its retries stays") {
		return c.until
	}
	return min(c.until, w.seen+3*every)
}

// mayEnd reports whether the wait of a late waiter may be ended. Its claim in the log
// may still be granted, and a retry may be in the queue.
func (m *model) mayEnd(w *modelWaiter, at int) bool {
	if m.inLog(w.newest().id()) {
		return m.reads("a wait runs out while its claim is in the log")
	}
	retries := slices.ContainsFunc(m.queue, func(c *modelCall) bool { return c.verb != "extend" })
	return !retries || at >= w.newest().until || m.reads("a retry that is in the queue is missed")
}

func (m *model) end(w *modelWaiter) {
	kind := interrex.ErrHeld
	if m.now < w.newest().until && !m.reads("a waiter that misses its retries is told `held`") {
		kind = interrex.ErrUnavailable
	}
	m.remove(w, kind, w.newest().n)
}

// inLog reports whether an attempt of a request is in the log and not applied.
func (m *model) inLog(id string) bool { return m.entry != nil && m.entry.has(id) }

func (e *modelEntry) has(id string) bool {
	return slices.ContainsFunc(e.ops, func(c *modelCall) bool { return c.id() == id && c.verb != "extend" })
}

// propose makes an entry of what is in the queue; false: there is nothing to do.
func (m *model) propose() bool {
	took := len(m.queue) > 0
	var extends, others []*modelCall
	for _, c := range m.queue {
		if c.verb == "extend" && !m.reads("extends have no precedence") {
			extends = append(extends, c)
		} else {
			others = append(others, c)
		}
	}
	m.queue = nil
	e := &modelEntry{stamp: m.base + m.now - m.since, ops: extends, waits: map[int]string{}}
	var rest []*modelCall
	first := -1 // of rest, that came while there were waiters
	for _, c := range others {
		switch {
		case c.gone:
			m.answer(c, interrex.ErrTimeout, c.n)
			continue
		case c.verb == "claim" && c.until > 0:
			m.wait(c)
			continue
		case c.verb == "claim" && !m.passes(c, rest):
			continue
		}
		if len(m.line) > 0 && first < 0 {
			first = len(rest)
		}
		rest = append(rest, c)
	}
	if first < 0 {
		first = len(rest)
	}
	m.compose(e, rest, first)
	due := m.lease != nil && m.free(e.stamp)
	if len(e.ops) == 0 && !due {
		return took
	}
	m.send(e)
	return true
}

// compose puts the waiters' claims into an entry: for a key that is free, for
// takeovers by the holder, and directly behind what frees the key.
func (m *model) compose(e *modelEntry, rest []*modelCall, first int) {
	inLog := func(w *modelWaiter) bool {
		id := w.newest().id()
		return (e.has(id) || slices.ContainsFunc(rest, func(c *modelCall) bool { return c.id() == id })) &&
			!m.reads("a waiter has two claims in the log")
	}
	claim := func(w *modelWaiter) {
		e.waits[len(e.ops)] = w.newest().id()
		e.ops = append(e.ops, w.newest())
		w.fresh = false
	}
	order := slices.Clone(m.line)
	if m.reads("last come is first served") {
		slices.Reverse(order)
	}
	if len(order) > 0 && m.free(e.stamp) && !inLog(order[0]) && !m.reads("a free key is left to its waiters") {
		claim(order[0])
	}
	for _, w := range m.line {
		if w.fresh && w.newest().takeover && m.lease != nil && m.lease.holder == w.newest().holder && !inLog(w) &&
			!m.reads("a takeover that waits does not pass the line") {
			claim(w)
		}
		w.fresh = false
	}
	for i, c := range rest {
		e.ops = append(e.ops, c)
		if i < first || !m.frees(rest[first:i], c, e.stamp) {
			continue
		}
		for _, w := range order {
			if !inLog(w) {
				claim(w)
				break
			}
		}
	}
}

// free reports whether a claim at a stamp finds the key free.
func (m *model) free(stamp int) bool {
	return m.lease == nil || len(m.lease.pins) == 0 && m.lease.expiry <= stamp
}

// frees reports whether an operation, behind others, is expected to free the key.
func (m *model) frees(before []*modelCall, c *modelCall, stamp int) bool {
	l := m.lease
	switch {
	case l == nil || m.reads("the key is granted in an entry after the one that frees it"):
		return false
	case c.verb == "revoke":
		return c.force || c.token == l.token
	case c.verb == "transfer":
		return m.reads("a transfer frees the key") && c.token == l.token
	case c.verb != "unpin" || stamp < l.expiry:
		return false
	}
	pins := map[string]bool{}
	for p := range l.pins {
		pins[p] = true
	}
	for _, b := range before {
		switch b.verb {
		case "pin":
			pins[b.holder] = true
		case "unpin":
			delete(pins, b.holder)
		}
	}
	return len(pins) == 1 && pins[c.holder]
}

// passes reports whether a claim that does not wait goes to the log.
func (m *model) passes(c *modelCall, batch []*modelCall) bool {
	if len(m.line) == 0 || m.reads("a claim that does not wait passes the line") {
		return true
	}
	if kind, attempt, found := m.recorded(c); found {
		m.answer(c, kind, attempt)
		return false
	}
	if c.takeover && m.lease != nil && m.lease.holder == c.holder && !m.reads("a takeover does not pass the line") {
		return true
	}
	if slices.ContainsFunc(batch, func(b *modelCall) bool { return b.id() == c.id() }) && !m.reads("a claim is refused while it is in the log") {
		return true
	}
	m.answer(c, interrex.ErrHeld, c.n)
	return false
}

// wait takes one attempt of a claim that waits.
func (m *model) wait(c *modelCall) {
	if kind, attempt, found := m.recorded(c); found && !m.reads("a leader does not look for the record") {
		m.answer(c, kind, attempt)
		return
	}
	i := slices.IndexFunc(m.line, func(w *modelWaiter) bool { return w.newest().id() == c.id() })
	if i < 0 {
		m.line = append(m.line, &modelWaiter{calls: []*modelCall{c}, seen: m.now, fresh: true})
		return
	}
	w := m.line[i]
	older := w.newest()
	replaced := interrex.ErrHeld
	if m.inLog(c.id()) {
		replaced = interrex.ErrOutcomeUnknown
	}
	switch {
	case c.n < older.n && !m.reads("a lower attempt takes the place of a higher one"):
		m.answer(c, replaced, c.n)
	case c.n == older.n && !m.reads("an equal attempt ends the earlier call"):
		w.calls = append(w.calls, c)
	default:
		for _, o := range w.calls {
			m.answer(o, replaced, o.n)
		}
		w.calls, w.seen, w.fresh, w.late = []*modelCall{c}, m.now, true, 0
		if m.reads("a retry goes to the end of the line") {
			m.line = append(slices.Delete(m.line, i, i+1), w)
		}
	}
}

// cancel is the end of a call.
func (m *model) cancel(a *attempt) {
	if a == nil || m.reads("a call that has ended stays in the line") {
		return
	}
	i := slices.IndexFunc(m.calls, func(c *modelCall) bool { return c.serial == a.serial })
	c := m.calls[i]
	c.gone = true
	for _, w := range m.line {
		if j := slices.Index(w.calls, c); j >= 0 {
			kind := interrex.ErrTimeout
			if m.inLog(c.id()) && !m.reads("nothing has happened to a claim that is in the log") {
				kind = interrex.ErrOutcomeUnknown
			}
			if len(w.calls) == 1 {
				m.remove(w, kind, c.n)
				return
			}
			w.calls = slices.Delete(w.calls, j, j+1)
			m.answer(c, kind, c.n)
			return
		}
	}
}

// send hands an entry to raft.
func (m *model) send(e *modelEntry) {
	if m.refuses {
		m.refuses, m.paused = false, true
		for i, c := range e.ops {
			id, waits := e.waits[i]
			if !waits {
				m.answer(c, interrex.ErrTimeout, c.n)
			} else if w := m.waiter(id); w != nil {
				if w.fresh = true; m.reads("a waiter whose claim did not enter the log leaves") {
					m.remove(w, interrex.ErrTimeout, c.n)
				}
			}
		}
		return
	}
	if len(e.ops) > 0 {
		var labels []string
		for _, c := range e.ops {
			labels = append(labels, c.label())
		}
		m.written = append(m.written, strings.Join(labels, "+"))
	}
	m.entry = e
}

// apply applies an entry: first what ends by time, then its operations.
func (m *model) apply(e *modelEntry) (*modelEntry, []modelResult) {
	m.stamp = max(m.stamp, e.stamp)
	m.entry = nil
	m.expire()
	var results []modelResult
	for _, c := range e.ops {
		results = append(results, m.applyOne(c))
	}
	return e, results
}

type modelResult struct {
	kind    interrex.Kind
	attempt int
}

// applied hands the results of an entry to the callers.
func (m *model) applied(e *modelEntry, results []modelResult) {
	for i, r := range results {
		id, waits := e.waits[i]
		if !waits {
			m.answer(e.ops[i], r.kind, r.attempt)
			continue
		}
		w := m.waiter(id)
		if w == nil {
			continue
		}
		switch {
		case r.kind == interrex.ErrHeld && !m.reads("a wrong guess is final"):
		case r.kind != "" && r.kind != interrex.ErrHeld && m.reads("a waiter that is refused otherwise stays"):
		default:
			m.remove(w, r.kind, r.attempt)
		}
	}
}

func (m *model) waiter(id string) *modelWaiter {
	for _, w := range m.line {
		if w.newest().id() == id {
			return w
		}
	}
	return nil
}

// recorded reports whether a mark or a record decides what an attempt is answered.
func (m *model) recorded(c *modelCall) (interrex.Kind, int, bool) {
	if c.number < m.marks[c.holder] {
		return interrex.ErrOutcomeUnknown, c.n, true
	}
	r, found := m.records[c.id()]
	switch {
	case !found:
		return "", 0, false
	case r.token > 0 && (m.lease == nil || m.lease.token != r.token) && !m.reads("a grant that is over is repeated"):
		return interrex.ErrNotHeld, r.attempt, true
	case m.reads("a repeated answer names the new attempt"):
		return "", c.n, true
	}
	return "", r.attempt, true
}

func (m *model) applyOne(c *modelCall) modelResult {
	if c.verb == "extend" {
		return modelResult{m.change(c), c.n}
	}
	m.marks[c.holder] = max(m.marks[c.holder], c.mark)
	if kind, attempt, found := m.recorded(c); found {
		return modelResult{kind, attempt}
	}
	kind := m.change(c)
	if kind == "" {
		m.records[c.id()] = modelRecord{attempt: c.n}
		if c.verb == "claim" {
			m.records[c.id()] = modelRecord{c.n, m.token}
		}
	}
	return modelResult{kind, c.n}
}

// change does one operation, or says why not.
func (m *model) change(c *modelCall) interrex.Kind {
	l := m.lease
	mine := l != nil && l.token == c.token
	switch c.verb {
	case "give up":
		return interrex.ErrNotFound // it is of another key
	case "claim":
		if l != nil && !(c.takeover && l.holder == c.holder) {
			return interrex.ErrHeld
		}
		m.grant(c.holder)
	case "extend":
		if !mine {
			return interrex.ErrNotHeld
		}
		l.expiry = max(l.expiry, m.stamp+modelTTL)
	case "transfer":
		if !mine {
			return interrex.ErrNotHeld
		}
		m.grant(c.to)
	case "revoke":
		if c.force && l == nil {
			return interrex.ErrNotFound
		}
		if !mine && !c.force {
			return interrex.ErrNotHeld
		}
		m.lease = nil
	case "pin":
		if l == nil {
			return interrex.ErrNotFound
		}
		l.pins[c.holder] = true
	case "unpin":
		if l == nil || !l.pins[c.holder] {
			return interrex.ErrNotFound
		}
		delete(l.pins, c.holder)
		m.expire()
	}
	return ""
}

func (m *model) grant(holder string) {
	next := &modelLease{holder: holder, expiry: m.stamp + modelTTL, pins: map[string]bool{}}
	if l := m.lease; l != nil {
		next.expiry, next.pins = max(next.expiry, l.expiry), l.pins
	}
	m.token++
	next.token, m.lease = m.token, next
}

func (m *model) expire() {
	if m.lease != nil && m.free(m.stamp) {
		m.lease = nil
	}
}

// lose is the end of leadership. What is in the log may survive.
func (m *model) lose(survives bool) {
	if !m.leads {
		return
	}
	for len(m.line) > 0 {
		w := m.line[0]
		kind := interrex.ErrNotLeader
		if m.inLog(w.newest().id()) && !m.reads("nothing has happened to a claim that is in the log") {
			kind = interrex.ErrOutcomeUnknown
		}
		m.remove(w, kind, w.newest().n)
	}
	if e := m.entry; e != nil {
		for i, c := range e.ops {
			if _, waits := e.waits[i]; !waits {
				m.answer(c, interrex.ErrOutcomeUnknown, c.n)
			}
		}
		if m.entry = nil; survives {
			m.apply(e)
		}
	}
	m.leads, m.ready, m.paused = false, false, false
}

func (m *model) remove(w *modelWaiter, kind interrex.Kind, attempt int) {
	m.line = slices.DeleteFunc(m.line, func(o *modelWaiter) bool { return o == w })
	for _, c := range w.calls {
		m.answer(c, kind, attempt)
	}
}

func (m *model) answer(c *modelCall, kind interrex.Kind, attempt int) {
	if c.answer == "" {
		c.answer = answerText(kind, attempt)
	}
}

// answerText is how an answer is compared. A refusal is about its own attempt,
// and need not name it.
func answerText(kind interrex.Kind, attempt int) string {
	if kind != "" {
		return string(kind)
	}
	return fmt.Sprint("done by attempt ", attempt)
}

// observe returns what callers and operators can see.
func (m *model) observe() string {
	holder := "nobody"
	if m.lease != nil {
		holder = m.lease.holder
	}
	var answers []string
	for _, c := range m.calls {
		answers = append(answers, c.label()+": "+c.answer)
	}
	return observation(holder, len(m.line), answers, m.written)
}

func observation(holder string, waiting int, answers, written []string) string {
	return fmt.Sprintf("held by %s, %d wait; log: %s; answers: %s", holder, waiting, strings.Join(written, " "), strings.Join(answers, ", "))
}
