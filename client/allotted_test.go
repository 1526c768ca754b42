package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/hold"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/testreplica"
	"github.com/interrex/interrex/internal/testtable"
	"github.com/interrex/interrex/state"
)

// TestWhateverIsDroppedNothingIsDoneTwice runs the names of real clients and real
// replicas of the state in a simulated world: messages are lost, doubled and late, agents
// lag and are restored from snapshots, leaders fall, the limits are tight, some callers
// flood them, and a cluster is recovered. INTERREX_SEEDS sets how many worlds there are,
// and INTERREX_SEED which comes first.
func TestWhateverIsDroppedNothingIsDoneTwice(t *testing.T) {
	seeds, first := uint64(60), rand.Uint64N(1<<32)
	if testing.Short() {
		seeds = 15
	}
	if n, err := strconv.ParseUint(os.Getenv("INTERREX_SEEDS"), 10, 64); err == nil {
		seeds = n
	}
	if n, err := strconv.ParseUint(os.Getenv("INTERREX_SEED"), 10, 64); err == nil {
		first = n
	}
	var sum worldCounts
	for seed := first; seed < first+seeds && !t.Failed(); seed++ {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			w := newWorld(t, seed)
			for w.now < worldEnd && !t.Failed() {
				w.step()
			}
			w.agree()
			sum.add(w.worldCounts)
		})
	}
	t.Logf("%+v", sum)
	if c := sum; seeds >= 60 && (c.done < 1000 || c.moved == 0 || c.unknown == 0 || c.early == 0 || c.lostLeaders == 0 || c.restores == 0 || c.recoveries == 0 || c.guarded == 0) {
		t.Error("that shows little")
	}
}

// worldCounts say that a run was about something.
type worldCounts struct {
	done, moved, unknown, early, guarded, lostLeaders, restores, recoveries int
}

func (c *worldCounts) add(o worldCounts) {
	c.done += o.done
	c.moved += o.moved
	c.unknown += o.unknown
	c.early += o.early
	c.guarded += o.guarded
	c.lostLeaders += o.lostLeaders
	c.restores += o.restores
	c.recoveries += o.recoveries
}

// Times are steps, of a minute of cluster time each.
const worldEnd = 400

// wish is one request, whose caller knows neither more nor less than a real one.
type wish struct {
	serial   int
	client   *worldClient
	id       hold.ID
	since    interrex.Revision // of a single one
	make     func() state.Operation
	attempts uint32
	next     int // when it is sent again
}

// parcel is a message under way: up, an attempt; down, its answer.
type parcel struct {
	at      int
	agent   int
	ask     *wish
	op      state.Operation
	command state.Command
	answer  *state.Result
	epoch   int
}

// worldClient is a client with the names of the real one, or one that makes ids of its
// own, or one that does harm.
type worldClient struct {
	caller, origin string
	names          *names
	open           []*wish
	evil           []string
}

type world struct {
	worldCounts
	t       *testing.T
	rnd     *rand.Rand
	now     int
	log     []machine.Entry
	pending []parcel // in the leader's log, not committed
	agents  []*testreplica.Replica
	applied []int
	leader  int
	parcels []parcel
	clients []*worldClient
	serial  int
	epoch   int
	effects map[int]int              // of each request: at which entry it was done
	closed  map[string]bool          // ids under which nothing may be done any more
	calm    bool                     // nobody does harm
	recover int                      // when the cluster is recovered; 0: never
	digests map[int]string           // of the state after each entry
	granted map[interrex.Token]*wish // by token
	serials map[string]*wish         // by the text that only a request's command has
}

func worldTables() []state.Table {
	return []state.Table{lease.New(), testtable.NewRegister()}
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{
		t: t, rnd: rand.New(rand.NewPCG(seed, 9)), effects: map[int]int{}, closed: map[string]bool{}, digests: map[int]string{},
		granted: map[interrex.Token]*wish{}, serials: map[string]*wish{},
	}
	for range 3 {
		w.agents, w.applied = append(w.agents, testreplica.New(t, worldTables)), append(w.applied, 0)
	}
	w.calm = w.chance(2)
	if w.chance(3) {
		w.recover = 100 + w.rnd.IntN(200)
	}
	w.log = append(w.log, w.entry(state.Operation{Table: machine.SystemTable, Data: (&machine.SetSettings{Values: map[string]string{
		"requests.names": "6", "requests.name-records": "12", "requests.records": "4", "requests.window": "8", "requests.name-age": "1h", "requests.record-age": "30m",
	}}).Append(nil)}))
	for i := range w.agents { // revision 0 would say that nothing is known
		w.advance(i, 1)
	}
	for i, caller := range []string{"ann", "", "", "single", ""} {
		c := &worldClient{caller: caller, origin: fmt.Sprint("10.0.0.", i)}
		if i < 3 {
			c.names = newNames(func(_ context.Context, bits uint64) (string, interrex.Revision, error) { return w.allot(c, bits) })
		}
		w.clients = append(w.clients, c)
	}
	return w
}

// entry is one that the leader writes now.
func (w *world) entry(ops ...state.Operation) machine.Entry {
	stamp := state.Time(w.now) * state.Time(time.Minute)
	return machine.Entry{Stamp: stamp, Wall: testreplica.Wall(stamp), Operations: ops}
}

func (w *world) chance(n int) bool { return w.rnd.IntN(n) == 0 }

// commit appends an entry to the log and returns its results.
func (w *world) commit(ops ...state.Operation) []state.Result {
	w.log = append(w.log, w.entry(ops...))
	w.advance(w.leader, len(w.log)-1)
	return w.advance(w.leader, len(w.log))
}

// advance lets an agent apply the log up to a length, and returns the last results.
func (w *world) advance(agent, to int) (last []state.Result) {
	for w.applied[agent] < to {
		i := w.applied[agent]
		last = w.agents[agent].Apply(&w.log[i])
		w.applied[agent]++
		if w.digests[i] == "" {
			w.digests[i] = w.digest(agent)
			w.learn(i, last)
		}
	}
	return last
}

func (w *world) digest(agent int) string {
	return fmt.Sprint(w.agents[agent].State.Revision(), w.agents[agent].State.RequestShares("", 100))
}

// learn notes what an entry has done, when the first agent applies it.
func (w *world) learn(index int, results []state.Result) {
	for i, res := range results {
		op := &w.log[index].Operations[i]
		a := w.serials[string(op.Minted)]
		if a == nil || res.Replayed {
			continue
		}
		switch kind := interrex.KindOf(res.Err); kind {
		case "":
		case interrex.ErrHeld, interrex.ErrNotHeld:
			if at, was := w.effects[a.serial]; was {
				w.t.Errorf("request %d is refused with %q at entry %d, and was done at %d", a.serial, kind, index, at)
			}
			continue
		default:
			continue
		}
		if at, twice := w.effects[a.serial]; twice {
			w.t.Errorf("request %d is done at entry %d and at %d, now under %s", a.serial, at, index, op.RequestID)
		}
		w.effects[a.serial] = index
		if w.closed[op.RequestID] {
			w.t.Errorf("request %d is done under %s, whose name was said to be gone", a.serial, op.RequestID)
		}
		if op.Table == machine.LeaseTable {
			w.granted[interrex.Token(res.Revision)] = a
		}
	}
}

// allot is the opening of a name, by a client that waits for it.
func (w *world) allot(c *worldClient, bits uint64) (string, interrex.Revision, error) {
	op := state.Operation{Table: machine.SystemTable, Caller: c.caller, Origin: c.origin, Data: (&machine.OpenName{Bits: bits}).Append(nil)}
	if w.chance(5) {
		return "", 0, interrex.Errorf(interrex.ErrOutcomeUnknown, "lost on the way")
	}
	res := w.commit(op)[0]
	switch {
	case w.chance(5):
		return "", 0, interrex.Errorf(interrex.ErrOutcomeUnknown, "lost on the way back")
	case res.Err != nil:
		return "", 0, res.Err
	}
	opened := res.Reply.(*machine.OpenedName)
	return opened.Name, opened.Revision, nil
}

func (w *world) step() {
	w.now++
	if w.now == w.recover {
		w.recovery()
	}
	for _, c := range w.clients {
		w.act(c)
	}
	var later []parcel
	due := w.parcels
	w.parcels = nil
	for _, p := range due {
		switch {
		case p.at > w.now:
			later = append(later, p)
		case p.answer != nil:
			w.hear(p)
		default:
			w.deliver(p)
		}
	}
	w.parcels = append(w.parcels, later...)
	w.lead()
	for i := range w.agents {
		if w.chance(3) {
			w.advance(i, w.applied[i]+w.rnd.IntN(len(w.log)-w.applied[i]+1))
		}
		if w.chance(60) {
			w.agents[i].Restart()
			w.restores++
		}
		if at := w.applied[i] - 1; at >= 0 && w.digests[at] != w.digest(i) {
			w.t.Errorf("agent %d differs at entry %d:\n%s\n%s", i, at, w.digest(i), w.digests[at])
		}
	}
}

// lead commits what is pending, or falls with a part of it.
func (w *world) lead() {
	if w.chance(25) {
		keep := w.rnd.IntN(len(w.pending) + 1)
		w.commitPending(keep, false)
		w.pending = nil
		w.leader = w.rnd.IntN(len(w.agents))
		w.advance(w.leader, len(w.log))
		w.lostLeaders++
		return
	}
	if w.chance(2) {
		w.commitPending(len(w.pending), true)
		w.pending = nil
	}
}

func (w *world) commitPending(n int, answers bool) {
	if n == 0 {
		return
	}
	var ops []state.Operation
	for _, p := range w.pending[:n] {
		ops = append(ops, p.op)
	}
	for i, res := range w.commit(ops...) {
		if answers {
			w.reply(w.pending[i], res)
		}
	}
}

// send puts a message on its way: it may be lost, late, or doubled.
func (w *world) send(p parcel) {
	p.epoch = w.epoch
	for n := 1 + w.rnd.IntN(8)/7; n > 0; n-- {
		if w.chance(8) {
			continue
		}
		p.at = w.now + w.rnd.IntN(3)
		if w.chance(10) {
			p.at += w.rnd.IntN(60)
		}
		w.parcels = append(w.parcels, p)
	}
}

func (w *world) reply(p parcel, res state.Result) {
	p.answer = &res
	w.send(p)
}

// deliver is the arrival of an attempt at an agent, which answers what is over and
// passes the rest to the leader.
func (w *world) deliver(p parcel) {
	if res, over := w.agents[p.agent].State.Over(&p.op, p.command); over {
		w.early++
		w.reply(p, res)
		return
	}
	w.pending = append(w.pending, p)
}

// recovery makes one agent's log the cluster's.
func (w *world) recovery() {
	survivor := w.rnd.IntN(len(w.agents))
	at := w.applied[survivor]
	w.log, w.pending = w.log[:at], nil
	for serial, index := range w.effects {
		if index >= at {
			delete(w.effects, serial)
		}
	}
	for i := range w.digests {
		if i >= at {
			delete(w.digests, i)
		}
	}
	w.epoch++
	w.recoveries++
	for i := range w.agents {
		w.agents[i], w.applied[i] = testreplica.New(w.t, worldTables), 0
		w.advance(i, at)
	}
	w.leader = survivor
	w.commit(state.Operation{Table: machine.SystemTable, Data: (&machine.Recover{ClusterID: "30303030303030303030303030303030", Bits: uint64(w.now), Survivor: "a", Incarnation: "i"}).Append(nil)})
}

// act is what a client does in a step.
func (w *world) act(c *worldClient) {
	if c == w.clients[len(w.clients)-1] {
		if !w.calm {
			w.harm(c)
		}
		return
	}
	for _, a := range append([]*wish(nil), c.open...) {
		switch {
		case w.now < a.next:
		case a.attempts > 3 && w.chance(12): // its caller gives up
			w.end(a)
		default:
			w.attempt(a)
		}
	}
	if often := 4 + w.now/100%2*60; len(c.open) < 3 && w.chance(often) { // at times it is idle
		w.begin(c)
	}
}

// begin starts a request, whose command has a text of its own, in what was minted for it:
// that is no part of its content.
func (w *world) begin(c *worldClient) {
	w.serial++
	a := &wish{serial: w.serial, client: c}
	text := fmt.Sprint("request ", a.serial)
	w.serials[text] = a
	table, data := testtable.RegisterTable, testtable.Set(fmt.Sprint("k", w.rnd.IntN(5)), text, 0)
	if c.names != nil && w.chance(2) {
		k := interrex.Key{Namespace: "default", Name: fmt.Sprint("l", w.rnd.IntN(3))}
		table, data = machine.LeaseTable, (&lease.Claim{Key: k, Holder: text, TTL: 3 * time.Minute}).Append(nil)
	}
	a.make = func() state.Operation {
		return state.Operation{Table: table, Caller: c.caller, Origin: c.origin, Data: data, Minted: []byte(text)}
	}
	if c.names == nil {
		a.id, a.since = hold.ID{Text: text, Done: func() {}}, w.agents[w.rnd.IntN(len(w.agents))].State.Revision()
	} else if !w.identify(a) {
		return
	}
	c.open = append(c.open, a)
	w.attempt(a)
}

// identify numbers a request under one of its client's names.
func (w *world) identify(a *wish) bool {
	id, err := a.client.names.Open(w.t.Context(), false)
	if err != nil {
		return false
	}
	a.id = id
	return true
}

func (w *world) attempt(a *wish) {
	if a.id.Text == "" && !w.identify(a) {
		a.next = w.now + 2
		return
	}
	op := a.make()
	op.RequestID, op.Attempt, op.Since = a.id.Text, a.attempts, a.since
	if a.client.names != nil {
		op.Mark = a.client.names.mark(op.RequestID)
	}
	a.attempts++
	a.next = w.now + 1 + w.rnd.IntN(5)
	agent := w.rnd.IntN(len(w.agents))
	c, err := w.agents[agent].State.Decode(op.Table, op.Data)
	if err != nil {
		w.t.Fatal(err)
	}
	w.send(parcel{agent: agent, ask: a, op: op, command: c})
}

func (w *world) end(a *wish) {
	if a.id.Done != nil {
		a.id.Done()
	}
	for i, o := range a.client.open {
		if o == a {
			a.client.open = append(a.client.open[:i:i], a.client.open[i+1:]...)
		}
	}
}

// hear is the arrival of an answer.
func (w *world) hear(p parcel) {
	a := p.ask
	if a == nil || p.epoch != w.epoch { // of another client, or of an epoch that is over
		return
	}
	res := p.answer
	if a.client.names != nil {
		a.client.names.hear(res.Revision)
	}
	over := true
	for _, o := range a.client.open {
		over = over && o != a
	}
	if over || p.op.RequestID != a.id.Text {
		return
	}
	newest := p.op.Attempt+1 == a.attempts
	switch interrex.KindOf(res.Err) {
	case "":
		w.done++
		if _, was := w.effects[a.serial]; !was {
			w.t.Errorf("request %d is answered as done, and was not", a.serial)
		}
		if r, is := res.Reply.(*lease.Reply); is && w.granted[r.Lease.Token] != a {
			w.t.Errorf("request %d is granted token %d, which is another's", a.serial, r.Lease.Token)
		}
		w.end(a)
	case interrex.ErrNameGone:
		w.gone(a, res.Err)
	case interrex.ErrOutcomeUnknown:
		var e *interrex.Error
		if errors.As(res.Err, &e) && e.Lost > 0 {
			w.guarded++
			w.end(a)
		}
	case interrex.ErrHeld, interrex.ErrNotHeld:
		if newest {
			w.end(a)
		}
	}
}

// gone is the client's rule.
func (w *world) gone(a *wish, err error) {
	former := a.id
	moves, _ := former.Gone(err)
	if !moves {
		w.unknown++
		w.end(a)
		return
	}
	w.moved++
	w.closed[former.Text] = true
	if _, was := w.effects[a.serial]; was {
		w.t.Errorf("request %d goes on under another name, and was done under %s", a.serial, former.Text)
	}
	former.Done()
	a.id = hold.ID{}
	w.identify(a)
	a.next = w.now + 1
}

// harm floods the limits, makes names up, and gives back those of others.
func (w *world) harm(c *worldClient) {
	if w.now < 20 || w.now > worldEnd-60 {
		return
	}
	op := state.Operation{Table: testtable.RegisterTable, Origin: c.origin, Data: testtable.Set("evil", "x", 0)}
	victim := fmt.Sprintf("%d-%016x", 1+w.rnd.IntN(50), w.rnd.Uint64())
	switch w.rnd.IntN(6) {
	case 0:
		op.Table, op.Data = machine.SystemTable, (&machine.OpenName{Bits: w.rnd.Uint64() | 1}).Append(nil)
		if res := w.commit(op)[0]; res.Err == nil {
			c.evil = append(c.evil, res.Reply.(*machine.OpenedName).Name)
		}
		return
	case 1, 2:
		if len(c.evil) == 0 {
			return
		}
		op.RequestID, op.Mark = fmt.Sprint(c.evil[w.rnd.IntN(len(c.evil))], ".", 1+w.rnd.IntN(8)), 1
	case 3:
		op.RequestID = fmt.Sprint("evil", w.rnd.IntN(100))
	case 4:
		op.RequestID, op.Mark = fmt.Sprint(victim, ".", 5000), 5000
	case 5:
		op.Table, op.Data = machine.SystemTable, (&machine.Retire{Name: victim, Mark: 1 << 60}).Append(nil)
	}
	w.commit(op)
}

// agree brings all agents to the end of the log, where their snapshots are equal.
func (w *world) agree() {
	var first string
	for i := range w.agents {
		w.advance(i, len(w.log))
		if got := string(w.agents[i].Snapshot()); i == 0 {
			first = got
		} else if got != first {
			w.t.Errorf("the snapshots of agents 0 and %d differ", i)
		}
	}
}
