package leaseapplier

import (
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/state"
)

// step is one step of a scenario: something that a caller, or raft, does.
type step struct{ verb, who string }

func (s step) String() string { return strings.TrimSpace(s.who + " " + s.verb) }

// lasts is how long the next step waits, in milliseconds.
func (s step) lasts() int {
	if s.verb == "pass" {
		return 400
	}
	return 120
}

// attempt is what a caller sends.
type attempt struct {
	verb, holder, to string
	number, n, mark  int // of the request, and the attempt
	serial           int
	until            int // the end of its wait, in milliseconds; 0: it does not wait
	every            int
	takeover, force  bool
}

func (a *attempt) id() string { return fmt.Sprintf("%s.%d", a.holder, a.number) }

func (a *attempt) label() string {
	if a.verb == "extend" {
		return a.verb
	}
	return fmt.Sprintf("%s/%d", a.id(), a.n)
}

// callers number their requests, and know the newest attempt of their last claim.
type callers struct {
	number, mark map[string]int
	last         map[string]*attempt
	serial       int
}

func newCallers() callers {
	return callers{map[string]int{}, map[string]int{}, map[string]*attempt{}, 0}
}

var modelHolders = []string{"ann", "bob", "cat"}

// send returns what a step sends; nil: nothing.
func (c *callers) send(s step, now int) *attempt {
	a := &attempt{verb: s.verb, holder: s.who}
	switch s.verb {
	case "claim", "wait", "wait and retry", "take over", "wait to take over":
		a.verb, a.takeover = "claim", strings.HasSuffix(s.verb, "take over")
		if strings.HasPrefix(s.verb, "wait") {
			a.until = now + 1501 + 37*c.serial
		}
		if s.verb == "wait and retry" {
			a.every = 231 + c.serial
		}
		c.last[s.who] = a
	case "retry", "repeat", "send a late copy":
		last := c.last[s.who]
		if last == nil || s.verb == "send a late copy" && last.n == 0 {
			return nil
		}
		again := *last
		switch a = &again; s.verb {
		case "retry":
			a.n++
			c.last[s.who] = a
		case "send a late copy":
			a.n--
		}
		c.serial++
		a.serial = c.serial
		return a
	case "revoke", "extend", "pin", "unpin":
	case "force":
		a.verb, a.force = "revoke", true
	case "transfer":
		a.to = modelHolders[(slices.Index(modelHolders, s.who)+1)%len(modelHolders)]
	case "give up": // all earlier requests
		c.mark[s.who] = c.number[s.who] + 1
	default:
		return nil
	}
	c.number[s.who]++
	c.serial++
	a.number, a.mark, a.serial = c.number[s.who], max(1, c.mark[s.who]), c.serial
	return a
}

// modelRun is a scenario on a real Applier.
type modelRun struct {
	*rig
	began   time.Time
	callers callers
	tokens  map[string]interrex.Token
	calls   []*call
	sent    []*attempt
	names   map[string]string // of request ids, by holder
}

func newModelRun(t *testing.T) *modelRun {
	r := newRig(t, func(c *Config) { c.Logger = &logs{at: map[string]int{}} })
	r.raft.set(func(m *memRaft) { m.latency = 0 })
	m := &modelRun{rig: r, began: time.Now(), callers: newCallers(), tokens: map[string]interrex.Token{}, names: map[string]string{}}
	for i, holder := range modelHolders {
		m.names[holder] = r.name(uint64(i + 1))
	}
	return m
}

func (m *modelRun) do(s step) {
	switch s.verb {
	case "hold", "free":
		m.raft.set(func(r *memRaft) { r.holds = s.verb == "hold" })
	case "refuse":
		m.raft.set(func(r *memRaft) { r.refusesOne = raft.ErrEnqueueTimeout })
	case "lose", "lose all":
		if m.raft.State() == raft.Leader {
			m.raft.lose("you", map[string]int{"lose": 1, "lose all": 0}[s.verb])
		}
		m.applier.LeadershipChanged()
	case "lead":
		if m.raft.State() != raft.Leader {
			m.raft.lead()
		}
		m.applier.LeadershipChanged()
	case "cancel":
		if last := m.callers.last[s.who]; last != nil {
			i := slices.IndexFunc(m.sent, func(a *attempt) bool { return a.serial == last.serial })
			if !m.calls[i].Gone() {
				close(m.calls[i].stop)
			}
		}
	}
	if a := m.callers.send(s, int(time.Since(m.began).Milliseconds())); a != nil {
		c := newCall(m.t, m.command(a))
		c.Attempt, c.Deadline = uint32(a.n), m.began.Add(time.Hour)
		if a.verb != "extend" {
			c.RequestID, c.Mark = fmt.Sprintf("%s.%d", m.names[a.holder], a.number), uint64(a.mark)
		}
		if a.until > 0 {
			c.Wait = &queue.Wait{Until: m.began.Add(time.Duration(a.until) * time.Millisecond), Every: time.Duration(a.every) * time.Millisecond}
		}
		m.calls, m.sent = append(m.calls, c), append(m.sent, a)
		m.queue.Enqueue(m.t.Context(), c.Operation)
	}
	synctest.Wait()
	m.pass(time.Duration(s.lasts()) * time.Millisecond)
}

func (m *modelRun) command(a *attempt) state.Command {
	switch a.verb {
	case "claim":
		return &lease.Claim{Key: db, Holder: a.holder, TTL: modelTTL * time.Millisecond, Takeover: a.takeover}
	case "extend":
		return &lease.Extend{Key: db, Token: m.token(a.holder)}
	case "revoke":
		if a.force {
			return &lease.Revoke{Key: db, Force: true}
		}
		return &lease.Revoke{Key: db, Token: m.token(a.holder)}
	case "transfer":
		return &lease.Transfer{Key: db, Token: m.token(a.holder), To: a.to}
	case "pin":
		return &lease.Pin{Key: db, Owner: a.holder}
	case "unpin":
		return &lease.Unpin{Key: db, Owner: a.holder}
	}
	return &lease.Pin{Key: interrex.Key{Namespace: "default", Name: "other"}, Owner: a.holder}
}

// token is the token that a holder knows.
func (m *modelRun) token(holder string) interrex.Token {
	if l, found := m.leases.Get(db); found && l.Holder == holder {
		m.tokens[holder] = l.Token
	}
	if m.tokens[holder] == 0 {
		return 1 << 40 // of no lease
	}
	return m.tokens[holder]
}

func (m *modelRun) observe() string {
	holder := "nobody"
	if l, found := m.leases.Get(db); found {
		holder = l.Holder
	}
	var answers, written []string
	for i, c := range m.calls {
		text := ""
		if !c.isOpen() {
			r := c.result()
			text = answerText(interrex.KindOf(r.Err), int(r.Attempt))
		}
		answers = append(answers, m.sent[i].label()+": "+text)
	}
	for _, e := range m.raft.written() {
		var ops []string
		for _, op := range e.Operations {
			ops = append(ops, m.label(&op))
		}
		if len(ops) > 0 {
			written = append(written, strings.Join(ops, "+"))
		}
	}
	return observation(holder, m.applier.Waiting(db), answers, written)
}

func (m *modelRun) label(op *state.Operation) string {
	if op.RequestID == "" {
		return "extend"
	}
	name, number, _ := strings.Cut(op.RequestID, ".")
	for holder, text := range m.names {
		if text == name {
			return fmt.Sprintf("%s.%s/%d", holder, number, op.Attempt)
		}
	}
	return op.RequestID
}

// scenario is what was seen in the real Applier after each of its steps.
type scenario struct {
	steps []step
	seen  []string
}

func (s *scenario) run(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModelRun(t)
		for _, st := range s.steps {
			m.do(st)
			s.seen = append(s.seen, m.observe())
		}
	})
}

// compare runs the model and returns the first difference; empty: there is none,
// or the order of two events is not fixed.
func (s *scenario) compare(wrong string) (difference string, unclear bool) {
	m := newModel(wrong)
	for i, st := range s.steps {
		m.do(st)
		if m.unclear {
			return "", true
		}
		if want := m.observe(); want != s.seen[i] {
			return fmt.Sprintf("%v\nafter step %d\nthe model: %s\nthe real:  %s", s.steps, i, want, s.seen[i]), false
		}
	}
	return "", false
}

// readings are wrong readings of the rules, each with a scenario in which it differs
// from the right one. The histories test what a holder concludes from its answers.
var readings = []struct{ wrong, scenario string }{
	{"a call that has ended stays in the line", "ann claim; bob wait and retry; bob cancel"},
	{"a caller that does not retry has missed its retries", "ann claim; cat wait; hold; ann extend; ann transfer; ann revoke; free"},
	{"a claim is refused while it is in the log", "hold; cat claim; bob claim; ann wait; bob retry; free"},
	{"a claim that does not wait passes the line", "ann claim; cat wait; cat claim"},
	{"a free key is left to its waiters", "ann claim; hold; cat claim; bob wait; free; pass"},
	{"a grant that is over is repeated", "ann claim; bob force; ann retry"},
	{"a leader does not look for the record", "bob wait and retry; ann revoke; bob retry"},
	{"a leader takes claims before its predecessors' entries are applied", "lose; hold; lead; ann wait"},
	{"a lower attempt takes the place of a higher one", "ann claim; bob wait; bob retry; bob send a late copy; free"},
	{"a repeated answer names the new attempt", "bob wait and retry; ann revoke; bob retry"},
	{"a retry goes to the end of the line", "ann claim; bob wait and retry; cat wait; bob retry; ann revoke"},
	{"a retry that is in the queue is missed", "ann claim; ann wait and retry; hold; cat revoke; cat send a late copy; ann revoke; ann revoke"},
	{"a takeover does not pass the line", "ann claim; ann wait and retry; ann take over"},
	{"a takeover that waits does not pass the line", "ann claim; ann wait to take over"},
	{"a transfer frees the key", "ann claim; cat wait; ann transfer; free"},
	{"a wait runs out while its claim is in the log", "ann claim; bob wait and retry; hold; ann revoke; pass"},
	{"a waiter has two claims in the log", "ann claim; ann wait and retry; hold; cat revoke; ann revoke; ann revoke; free"},
	{"a waiter that is refused otherwise stays", "ann claim; bob wait; cat wait; bob give up; ann revoke; pass"},
	{"a waiter that misses its retries is told `held`", "ann claim; bob wait and retry; cat claim; cat claim; pass"},
	{"a waiter that misses its retries stays", "ann claim; bob wait and retry; cat claim; cat claim; pass"},
	{"a waiter whose claim did not enter the log leaves", "refuse; cat wait; bob force"},
	{"a wrong guess is final", "ann claim; cat wait; hold; ann extend; ann transfer; ann revoke; free"},
	{"an equal attempt ends the earlier call", "ann claim; bob wait and retry; bob repeat"},
	{"extends have no precedence", "hold; ann pin; cat force; bob extend; free"},
	{"last come is first served", "ann claim; bob wait and retry; cat wait; ann revoke"},
	{"nothing has happened to a claim that is in the log", "ann claim; bob wait and retry; hold; ann revoke; bob cancel"},
	{"the key is granted in an entry after the one that frees it", "ann claim; cat wait; ann revoke; free"},
}

// everyScenario yields all scenarios of three of these steps, behind one in which
// ann holds the key and bob waits for it.
func everyScenario(yield func(*scenario) bool) {
	first := []step{{"claim", "ann"}, {"wait and retry", "bob"}}
	steps := []step{
		{"revoke", "ann"}, {"claim", "cat"}, {"wait", "cat"}, {"retry", "bob"}, {"repeat", "bob"}, {"cancel", "bob"}, {"extend", "ann"},
		{"hold", ""}, {"free", ""}, {"lose", ""}, {"lead", ""}, {"pass", ""},
	}
	for _, a := range steps {
		for _, b := range steps {
			for _, c := range steps {
				if !yield(&scenario{steps: append(slices.Clone(first), a, b, c)}) {
					return
				}
			}
		}
	}
}

// randomScenario is a longer one of all kinds of steps.
func randomScenario(rnd *rand.Rand) *scenario {
	verbs := []string{
		"claim", "wait", "wait", "wait and retry", "wait and retry", "take over", "wait to take over", "retry", "retry", "repeat",
		"send a late copy", "revoke", "revoke", "extend", "pin", "unpin", "force", "transfer", "give up", "cancel",
	}
	ofRaft := []string{"hold", "hold", "free", "free", "refuse", "lose", "lose all", "lead", "lead", "pass", "pass"}
	s := &scenario{steps: []step{{"claim", "ann"}}}
	for range 14 {
		if rnd.IntN(3) == 0 {
			s.steps = append(s.steps, step{verb: ofRaft[rnd.IntN(len(ofRaft))]})
			continue
		}
		s.steps = append(s.steps, step{verbs[rnd.IntN(len(verbs))], modelHolders[rnd.IntN(len(modelHolders))]})
	}
	return s
}

// TestTheApplierDoesWhatTheModelDoes runs both in all short scenarios, and in
// random longer ones.
func TestTheApplierDoesWhatTheModelDoes(t *testing.T) {
	seed, n := Seeds(300, 100)
	all := []*scenario{ // rare ones
		{steps: parse("cat claim; hold; ann claim; cat wait to take over; cat retry; free")},
		{steps: parse("ann claim; bob wait; refuse; ann wait to take over")},
	}
	for s := range everyScenario {
		all = append(all, s)
	}
	for i := range n {
		all = append(all, randomScenario(rand.New(rand.NewPCG(seed+i, 19))))
	}
	unclear := 0
	for _, s := range all {
		s.run(t)
		difference, is := s.compare("")
		if difference != "" {
			t.Fatalf("INTERREX_SEED=%d: %s", seed, difference)
		}
		if is {
			unclear++
		}
	}
	if unclear > len(all)/3 {
		t.Errorf("the order of events is not fixed in %d of %d scenarios", unclear, len(all))
	}
}

// TestEachWrongReadingOfTheRulesIsFound shows that the comparison says something.
func TestEachWrongReadingOfTheRulesIsFound(t *testing.T) {
	source, err := os.ReadFile("model_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range regexp.MustCompile(`reads\("([^"]+)"\)`).FindAllStringSubmatch(string(source), -1) {
		if !slices.ContainsFunc(readings, func(known struct{ wrong, scenario string }) bool { return known.wrong == r[1] }) {
			t.Errorf("no scenario for the reading %q", r[1])
		}
	}
	for _, r := range readings {
		s := &scenario{steps: parse(r.scenario)}
		s.run(t)
		if difference, unclear := s.compare(""); difference != "" || unclear {
			t.Errorf("%q, unclear: %v: %s", r.wrong, unclear, difference)
		}
		if difference, _ := s.compare(r.wrong); difference == "" {
			t.Errorf("%q does what the right reading does", r.wrong)
		}
	}
}

// parse reads a scenario: its steps, with "; " between them.
func parse(text string) []step {
	var steps []step
	for s := range strings.SplitSeq(text, "; ") {
		who, verb, _ := strings.Cut(s, " ")
		if !slices.Contains(modelHolders, who) {
			who, verb = "", s
		}
		steps = append(steps, step{verb, who})
	}
	return steps
}
