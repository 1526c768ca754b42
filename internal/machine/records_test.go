package machine_test

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/testreplica"
	"github.com/interrex/interrex/internal/testtable"
	"github.com/interrex/interrex/state"
)

// TestRecordsAreAsTheirModelSays runs random operations against replicas of a
// state and against a model of its records. Each run draws new seeds;
// INTERREX_SEEDS sets how many (80 are 200 000 operations) and INTERREX_SEED
// which comes first.
func TestRecordsAreAsTheirModelSays(t *testing.T) {
	seeds, first := uint64(12), rand.Uint64N(1<<32)
	if testing.Short() {
		seeds = 3
	}
	if n, err := strconv.ParseUint(os.Getenv("INTERREX_SEEDS"), 10, 64); err == nil {
		seeds = n
	}
	if n, err := strconv.ParseUint(os.Getenv("INTERREX_SEED"), 10, 64); err == nil {
		first = n
	}
	var all counts
	for seed := first; seed < first+seeds; seed++ {
		if !t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) { runRecords(t, seed, &all) }) {
			return
		}
	}
	t.Logf("%+v", all)
	if c := &all; seeds >= 12 && (c.done == 0 || c.replayed == 0 || c.belowMark == 0 || c.overloaded == 0 || c.otherContent == 0 ||
		c.overGrants == 0 || c.unfenced == 0 || c.retired == 0 || c.restores == 0 || c.hours < 24 || c.named < 30 || c.gone == 0 || c.lost == 0 || c.opened == 0) {
		t.Error("that shows little")
	}
}

// counts say that a run was about something.
type counts struct {
	operations, done, replayed, belowMark, overloaded, otherContent, overGrants, unfenced, retired int
	opened, gone, lost                                                                             int

	snapshots, restores, hours int
	named, singles             int // at most, at once
}

const recordOperations = 2500 // of one seed

func runRecords(t *testing.T, seed uint64, all *counts) {
	w := newRecordWorld(t, seed)
	for w.operations < recordOperations && !t.Failed() {
		w.step()
	}
	if !t.Failed() {
		w.finish()
	}
	w.add(all)
}

// copyOf is one replica.
type copyOf struct {
	state *machine.State
	index uint64 // applied
	off   bool   // it lags behind
}

// frozen is a snapshot that is not written yet.
type frozen struct {
	raft.FSMSnapshot
	index    uint64
	records  *modelRecords
	settings map[string]string
}

// logged is an entry of the log, with what it must be answered.
type logged struct {
	data    []byte
	asks    []ask
	answers []answer
	// The state after it.
	revision interrex.Revision
	now      state.Time
	names    int
}

type recordWorld struct {
	counts
	t      *testing.T
	rnd    *rand.Rand
	model  *model
	copies []*copyOf
	log    []logged // the entry of index i is at i-1
	frozen []*frozen
	tables []state.Table // only for their codecs
	sums   contents
	load   *requests
}

func newRecordWorld(t *testing.T, seed uint64) *recordWorld {
	w := &recordWorld{
		t: t, rnd: rand.New(rand.NewPCG(seed, 23)), model: newModel(), tables: modelTables(), sums: contents{},
	}
	w.load = newRequests(w.rnd, w.model)
	for range 3 {
		w.copies = append(w.copies, w.newCopy())
	}
	return w
}

func (w *recordWorld) newCopy() *copyOf {
	s, err := machine.New(machine.Config{Tables: modelTables()})
	if err != nil {
		w.t.Fatal(err)
	}
	return &copyOf{state: s}
}

// step proposes one entry, and lets something happen to a replica or a
// snapshot.
func (w *recordWorld) step() {
	stamp, asks := w.load.entry()
	e := &machine.Entry{Stamp: stamp, Wall: testreplica.Wall(stamp)}
	for i := range asks {
		e.Operations = append(e.Operations, asks[i].operation())
	}
	before := w.model.now
	answers := w.model.apply(stamp, asks)
	w.hours += int(w.model.now.Sub(before).Hours())
	w.log = append(w.log, logged{e.Append(nil), asks, answers, w.model.revision, w.model.now, len(w.model.records.names)})
	w.note(asks, answers)
	for _, c := range w.copies {
		if !c.off {
			w.catchUp(c)
		}
	}
	switch w.rnd.IntN(24) {
	case 0, 1:
		w.freeze()
	case 2, 3:
		w.write()
	case 4:
		c := w.copies[w.rnd.IntN(len(w.copies))]
		c.off = !c.off && w.running() > 1
		if !c.off {
			w.catchUp(c)
		}
	case 5, 6:
		w.probe()
	}
}

func (w *recordWorld) running() (n int) {
	for _, c := range w.copies {
		if !c.off {
			n++
		}
	}
	return n
}

// someCopy is a replica that is in step.
func (w *recordWorld) someCopy() *copyOf {
	for {
		if c := w.copies[w.rnd.IntN(len(w.copies))]; !c.off {
			return c
		}
	}
}

// catchUp applies what a replica has not applied, and compares its answers.
func (w *recordWorld) catchUp(c *copyOf) {
	w.t.Helper()
	for c.index < uint64(len(w.log)) {
		e := &w.log[c.index]
		c.index++
		results, _ := c.state.Apply(&raft.Log{Type: raft.LogCommand, Index: c.index, Term: 1, Data: e.data}).([]state.Result)
		if err := c.state.Halted(); err != nil || len(results) != len(e.asks) {
			w.t.Fatalf("entry %d: %d results to %d operations: %v", c.index, len(results), len(e.asks), err)
		}
		for i, res := range results {
			if got := answered(res); got != e.answers[i] {
				w.t.Fatalf("entry %d at %v, operation %d: %+v\nis answered %+v (%v)\n       want %+v", c.index, e.now, i, e.asks[i], got, res.Err, e.answers[i])
			}
		}
		names, _ := c.state.Names()
		if c.state.Revision() != e.revision || c.state.Now() != e.now || names != e.names {
			w.t.Fatalf("entry %d: it ends at revision %d, time %d, with %d names; want %d, %d, %d", c.index, c.state.Revision(), c.state.Now(), names, e.revision, e.now, e.names)
		}
	}
}

// freeze takes a snapshot, which is written later.
func (w *recordWorld) freeze() {
	if len(w.frozen) == 3 {
		w.frozen[0].Release() // unwritten
		w.frozen = w.frozen[1:]
	}
	c := w.someCopy()
	f, err := c.state.Snapshot()
	if err != nil {
		w.t.Fatal(err)
	}
	w.frozen = append(w.frozen, &frozen{f, c.index, w.model.records.clone(), maps.Clone(w.model.settings)})
	w.snapshots++
	w.load.frozen = w.rnd.IntN(2) == 0
}

// write writes a frozen snapshot, and restores it into a replica, which goes
// on from there.
func (w *recordWorld) write() {
	if len(w.frozen) == 0 {
		return
	}
	i := w.rnd.IntN(len(w.frozen))
	f := w.frozen[i]
	w.frozen = append(w.frozen[:i], w.frozen[i+1:]...)
	b := w.persist(f)
	checkSnapshot(w.t, b, w.tables, f.records, f.settings, w.sums)
	if w.t.Failed() {
		w.t.Fatalf("that was the snapshot of entry %d, written at %d", f.index, len(w.log))
	}
	i = w.rnd.IntN(len(w.copies))
	if c := w.copies[i]; !c.off || c.index >= f.index {
		c.state.Close()
		w.copies[i] = w.newCopy()
	}
	c := w.copies[i]
	if err := c.state.Restore(io.NopCloser(bytes.NewReader(b))); err != nil {
		w.t.Fatalf("cannot restore the snapshot of entry %d: %v", f.index, err)
	}
	w.restores++
	c.index, c.off = f.index, false
	w.catchUp(c)
}

func (w *recordWorld) persist(f raft.FSMSnapshot) []byte {
	defer f.Release()
	var sink testtable.Sink
	if err := f.Persist(&sink); err != nil {
		w.t.Fatal(err)
	}
	return sink.Bytes()
}

// probe asks a replica for records, as a leader does.
func (w *recordWorld) probe() {
	c := w.someCopy()
	for range 20 {
		q := w.load.operation()
		if len(q.acts) == 0 {
			continue
		}
		op := q.operation()
		want, wanted := w.model.settled(&q)
		res, found := c.state.Recorded(&op)
		if got := answered(res); found != wanted || found && got != want {
			w.t.Fatalf("%+v\nis answered from memory %v %+v (%v)\n                   want %v %+v", q, found, got, res.Err, wanted, want)
		}
	}
}

// finish brings all replicas to one place, where their snapshots are equal.
func (w *recordWorld) finish() {
	var first []byte
	for i, c := range w.copies {
		w.catchUp(c)
		f, err := c.state.Snapshot()
		if err != nil {
			w.t.Fatal(err)
		}
		b := w.persist(f)
		checkSnapshot(w.t, b, w.tables, w.model.records, w.model.settings, w.sums)
		if i == 0 {
			first = b
		}
		if !bytes.Equal(first, b) {
			w.t.Errorf("the snapshots of replicas 0 and %d differ", i)
		}
	}
	for len(w.frozen) > 0 && !w.t.Failed() {
		w.write()
	}
	sums := map[uint64]string{}
	for content, sum := range w.sums {
		if other, taken := sums[sum]; taken {
			w.t.Errorf("one checksum of two contents: %s, and %s", content, other)
		}
		sums[sum] = content
	}
}

func (w *recordWorld) note(asks []ask, answers []answer) {
	for i, a := range answers {
		w.operations++
		switch {
		case a.replayed && a.kind == interrex.ErrNotHeld:
			w.overGrants++
		case a.replayed:
			w.replayed++
		case a.kind == interrex.ErrNameGone:
			w.gone++
		case a.kind == interrex.ErrOutcomeUnknown && a.lost > 0:
			w.lost++
		case a.kind == interrex.ErrOutcomeUnknown:
			w.belowMark++
		case a.kind == "" && asks[i].open != 0:
			w.opened++
		case a.kind == interrex.ErrOverloaded:
			w.overloaded++
		case a.kind == interrex.ErrInvalid:
			w.otherContent++
		case a.kind == interrex.ErrNotHeld && asks[i].fence != "":
			w.unfenced++
		case a.kind == "" && asks[i].retire != "":
			w.retired++
		case a.kind == "":
			w.done++
		}
		w.load.learn(asks[i], a)
	}
	w.named = max(w.named, len(w.model.records.names))
	w.singles = max(w.singles, len(w.model.records.singles))
}

func (w *recordWorld) add(all *counts) {
	c := &w.counts
	all.operations += c.operations
	all.done += c.done
	all.replayed += c.replayed
	all.belowMark += c.belowMark
	all.overloaded += c.overloaded
	all.otherContent += c.otherContent
	all.overGrants += c.overGrants
	all.unfenced += c.unfenced
	all.retired += c.retired
	all.opened += c.opened
	all.gone += c.gone
	all.lost += c.lost
	all.snapshots += c.snapshots
	all.restores += c.restores
	all.named = max(all.named, c.named)
	all.singles = max(all.singles, c.singles)
	all.hours += c.hours
}

// requests makes the load: callers with names, which count, repeat, give up and
// go; and others that do as they like.
type requests struct {
	rnd     *rand.Rand
	model   *model
	clients []*namedClient
	made    int // names, ids and texts
	recent  []ask
	old     []ask
	last    map[string]ask // done under each name
	tokens  []interrex.Revision
	pace    int  // how fast time goes
	frozen  bool // a snapshot has just been frozen: what is written next is copied
}

type namedClient struct {
	caller, origin string
	bits           uint64
	name           string // empty: it has not heard of one
	next, mark     uint64
}

func newRequests(rnd *rand.Rand, m *model) *requests {
	l := &requests{rnd: rnd, model: m, pace: rnd.IntN(3), last: map[string]ask{}}
	clients := 1 + rnd.IntN(3)*rnd.IntN(60) + rnd.IntN(6)
	if l.chance(6) {
		clients = 1000
	}
	for range clients {
		l.clients = append(l.clients, l.newClient())
	}
	return l
}

func (l *requests) newClient() *namedClient {
	l.made++
	c := &namedClient{caller: l.caller(), origin: l.origin(), bits: uint64(l.made), next: 1, mark: 1}
	if l.rnd.IntN(40) == 0 {
		c.next = math.MaxUint64 - uint64(l.rnd.IntN(20))
		c.mark = c.next - uint64(l.rnd.IntN(20))
	}
	return c
}

func (l *requests) caller() string { return []string{"", "ann", "bob"}[l.rnd.IntN(3)] }

func (l *requests) origin() string { return fmt.Sprint("10.0.0.", l.rnd.IntN(3)) }

// chance is true once in n times.
func (l *requests) chance(n int) bool { return l.rnd.IntN(n) == 0 }

// entry makes an entry: its stamp, and its operations.
func (l *requests) entry() (state.Time, []ask) {
	stamp := l.stamp()
	if l.model.revision == 0 && !l.chance(4) {
		return stamp, []ask{{settings: l.limits()}}
	}
	n := l.rnd.IntN(8)
	if l.chance(30) {
		n = 40
	}
	var asks []ask
	for range n {
		asks = append(asks, l.operation())
	}
	return stamp, asks
}

// stamp moves time: mostly a little, at times by hours, and often to the very
// end of something or to just before it.
func (l *requests) stamp() state.Time {
	now := l.model.now
	switch n := l.rnd.IntN(100); {
	case n < 4:
		return now - state.Time(l.rnd.IntN(1000)) // a leader's clock that is behind
	case n < 10:
		return l.edge()
	case n < 10+l.pace*4:
		return now.Add(time.Duration(l.rnd.Int64N(int64(6 * time.Minute))))
	case n < 10+l.pace*6:
		return now.Add(time.Duration(l.rnd.Int64N(int64(10 * time.Hour))))
	case n == 99 && l.pace == 2:
		return now.Add(time.Duration(l.rnd.Int64N(int64(50 * time.Hour))))
	}
	return now.Add(time.Duration(l.rnd.Int64N(int64(2 * time.Second))))
}

// edge is about the end of the record or the name that ends first, or of
// another one.
func (l *requests) edge() state.Time {
	m := l.model
	at := m.now
	if l.chance(2) {
		if n := len(m.records.singles); n > 0 {
			at = m.records.singles[l.rnd.IntN(min(n, 3))].at.Add(m.age("record-age"))
		}
	} else {
		for _, n := range m.records.names {
			if end := n.last.Add(m.age("name-age")); at == m.now || end < at {
				at = end
			}
		}
	}
	return max(m.now, at+state.Time(l.rnd.IntN(3))-1)
}

// limits are settings of request ids, mostly narrow ones.
func (l *requests) limits() map[string]string {
	all := map[string][]string{
		"requests.window":     {"1", "3", "7", "16", "", ""},
		"requests.names":      {"2", "20", "60", "300", "", ""},
		"requests.name-age":   {"1m", "1h", "24h", "48h", "", ""},
		"requests.records":    {"1", "4", "20", "100", ""},
		"requests.record-age": {"1s", "1m", "10m", "24h", ""},

		"requests.name-records": {"1", "10", "100", "", ""},
	}
	set := map[string]string{}
	for _, name := range []string{"requests.window", "requests.names", "requests.name-age", "requests.records", "requests.record-age", "requests.name-records"} {
		if values := all[name]; l.chance(2) || len(set) == 0 {
			set[name] = values[l.rnd.IntN(len(values))]
		}
	}
	return set
}

// operation makes one operation. It changes nothing of what a model holds.
func (l *requests) operation() ask {
	if l.frozen {
		l.frozen = false
		return l.nudge()
	}
	switch n := l.rnd.IntN(100); {
	case n < 30 && len(l.recent) > 0:
		return l.again()
	case n < 33:
		return l.nudge()
	case n < 75:
		return l.numbered()
	case n < 90:
		return l.single()
	case n < 98:
		return l.request()
	case n < 99 && l.chance(4):
		return ask{settings: l.limits()}
	}
	return l.giveBack()
}

func (l *requests) client() *namedClient {
	// Some are busier than others.
	return l.clients[min(l.rnd.IntN(len(l.clients)), l.rnd.IntN(len(l.clients)))]
}

// numbered is a request of a client.
func (l *requests) numbered() ask {
	i := l.rnd.IntN(len(l.clients))
	if l.chance(60) {
		l.clients[i] = l.newClient()
	}
	c := l.client()
	if c.name == "" || l.chance(40) {
		return ask{open: c.bits, caller: c.caller, origin: c.origin}
	}
	q := l.request()
	number := c.next
	switch l.rnd.IntN(10) {
	case 0: // one that was skipped, was done, or is over
		number -= min(number, uint64(l.rnd.IntN(6)))
	case 1:
		c.next += uint64(l.rnd.IntN(4))
		number = c.next
	case 2: // perhaps beyond the window
		number += uint64(l.rnd.IntN(l.model.number("window") + 2))
	}
	if number == c.next {
		c.next++
	}
	if l.chance(2) && c.next > c.mark {
		c.mark += uint64(l.rnd.IntN(int(min(c.next-c.mark, 6))))
	}
	q.caller, q.id, q.mark = c.caller, fmt.Sprint(c.name, ".", number), c.mark
	switch l.rnd.IntN(50) {
	case 0:
		q.mark = 0
	case 1:
		q.mark += uint64(l.rnd.IntN(3))
	case 2, 3: // from before
		q.mark -= min(q.mark-1, uint64(l.rnd.IntN(5)))
	}
	return q
}

// single is a request under an id that is a record by itself.
func (l *requests) single() ask {
	q := l.request()
	q.caller, q.origin = l.caller(), l.origin()
	if l.chance(2) {
		q.since = l.model.revision - min(l.model.revision, interrex.Revision(l.rnd.IntN(30)))
	}
	l.made++
	switch l.rnd.IntN(6) {
	case 0:
		q.id = []string{"n.01", ".5", "n.", "n.+1", "n.99999999999999999999", "a", "7"}[l.rnd.IntN(7)]
		q.mark = uint64(l.rnd.IntN(3))
	case 1:
		q.id = fmt.Sprint("id", l.rnd.IntN(40))
	default:
		q.id = fmt.Sprint("id", l.made)
	}
	return q
}

// again is another attempt of what was asked before, or another request under
// its id.
func (l *requests) again() ask {
	from := l.recent
	if len(l.old) > 0 && l.chance(3) {
		from = l.old
	}
	q := from[l.rnd.IntN(len(from))]
	q.attempt += uint32(l.rnd.IntN(3))
	if l.chance(4) {
		for _, c := range l.clients {
			if c.name != "" && strings.HasPrefix(q.id, c.name+".") && q.caller == c.caller && q.mark > 0 {
				q.mark = c.mark
			}
		}
	}
	if l.chance(6) {
		l.alter(&q)
	}
	q.acts = append([]act(nil), q.acts...)
	for i := range q.acts {
		q.acts[i].minted = strings.Repeat("m", l.rnd.IntN(3)) // each attempt mints anew
	}
	return q
}

// nudge repeats a request of the name that was written first or last, with
// another mark: a mark that rises where nothing is written.
func (l *requests) nudge() ask {
	var all []*modelName
	for k, n := range l.model.records.names {
		if _, known := l.last[k]; known {
			all = append(all, n)
		}
	}
	if len(all) == 0 {
		return l.numbered()
	}
	slices.SortFunc(all, func(a, b *modelName) int {
		return cmp.Or(cmp.Compare(a.last, b.last), cmp.Compare(a.revision, b.revision))
	})
	q := l.last[all[0].text()]
	if l.chance(2) {
		q = l.last[all[len(all)-1].text()]
	}
	_, number, _ := q.named()
	q.mark = max(q.mark, number-min(number, uint64(l.rnd.IntN(3))))
	return q
}

func (l *requests) alter(q *ask) {
	a := l.request()
	switch l.rnd.IntN(6) {
	case 0:
		q.acts, q.group = a.acts, a.group
	case 1:
		q.fence, q.token = a.fence, a.token
	case 2:
		q.caller = l.caller()
	case 3: // a group of one is another content
		if len(q.acts) == 1 && q.acts[0].table != shelfTable {
			q.group = !q.group
		}
	case 4: // the same command elsewhere
		q.acts = append([]act(nil), q.acts...)
		if a := &q.acts[0]; a.table == plainTable || a.table == twiceTable {
			a.table = plainTable + twiceTable - a.table
		}
	case 5:
		q.acts = append([]act(nil), q.acts...)
		if a := &q.acts[0]; a.text != "" {
			l.made++
			a.text += fmt.Sprint(l.made)
		}
	}
}

func (l *requests) giveBack() ask {
	c := l.client()
	if c.name == "" {
		return ask{open: c.bits, caller: c.caller, origin: c.origin}
	}
	q := ask{retire: c.name, mark: c.mark, caller: c.caller}
	if l.chance(3) {
		q.caller = l.caller()
	}
	return q
}

// request is a request without an id.
func (l *requests) request() ask {
	q := ask{attempt: uint32(l.rnd.IntN(3)), caller: l.caller()}
	q.acts = []act{l.act()}
	if l.chance(6) {
		q = l.grouped(q)
	}
	if l.chance(5) {
		q.fence, q.token = l.lease(), l.token()
		if now, held := l.model.leases[q.fence]; held && l.chance(2) {
			q.token = now.token
		}
	}
	return q
}

// grouped is a group, with each key once.
func (l *requests) grouped(q ask) ask {
	q.group, q.acts = true, nil
	keys := map[string]bool{}
	for range 1 + l.rnd.IntN(4) {
		if a := l.act(); a.table != shelfTable && !keys[a.key] {
			keys[a.key] = true
			q.acts = append(q.acts, a)
		}
	}
	if len(q.acts) == 0 {
		q.acts = []act{{table: plainTable, verb: "set", key: "k"}}
	}
	return q
}

func (l *requests) lease() string { return fmt.Sprint("lease", l.rnd.IntN(4)) }

func (l *requests) token() interrex.Revision {
	if len(l.tokens) == 0 {
		return 1
	}
	return l.tokens[l.rnd.IntN(len(l.tokens))]
}

func (l *requests) act() act {
	if l.chance(3) {
		a := act{table: machine.LeaseTable, key: l.lease(), text: fmt.Sprint("holder", l.rnd.IntN(3)), life: l.ttl(), token: l.token()}
		if now, held := l.model.leases[a.key]; held && !l.chance(4) {
			a.token = now.token
		}
		a.verb = []string{"claim", "claim", "claim", "transfer", "revoke", "force"}[l.rnd.IntN(6)]
		switch a.verb {
		case "claim":
			a.token = 0
		case "force":
			a.token, a.text, a.life = 0, "", 0
		case "revoke":
			a.text, a.life = "", 0
		}
		return a
	}
	l.made++
	a := act{table: plainTable + state.TableID(l.rnd.IntN(4)), verb: "delete", key: fmt.Sprint("key", l.rnd.IntN(8))}
	if !l.chance(4) {
		a.verb, a.text = "set", fmt.Sprint("text", l.made)
		if l.chance(8) {
			a.life = l.ttl()
		}
	}
	return a
}

func (l *requests) ttl() time.Duration {
	return []time.Duration{time.Second, 15 * time.Second, time.Hour, 24 * time.Hour}[l.rnd.IntN(4)]
}

// learn takes note of what was asked, and of tokens.
func (l *requests) learn(q ask, a answer) {
	if q.open != 0 && a.kind == "" {
		for _, c := range l.clients {
			if c.bits == q.open && c.caller == q.caller {
				c.name = a.reply
			}
		}
	}
	if len(q.acts) == 0 {
		return
	}
	if a.kind == interrex.ErrNameGone && l.chance(3) {
		for i, c := range l.clients {
			if name, _, _ := q.named(); c.name == name {
				l.clients[i] = l.newClient()
			}
		}
	}
	if a.kind == "" && q.acts[0].table == machine.LeaseTable {
		l.tokens = append(l.tokens[max(0, len(l.tokens)-20):], a.revision)
	}
	if q.id == "" {
		return
	}
	if name, _, is := q.named(); is && a.kind == "" {
		l.last[name] = q
	}
	if len(l.recent) == 60 {
		// Some are asked again much later.
		if out := l.recent[0]; len(l.old) < 100 {
			l.old = append(l.old, out)
		} else if l.chance(4) {
			l.old[l.rnd.IntN(len(l.old))] = out
		}
		l.recent = l.recent[1:]
	}
	l.recent = append(l.recent, q)
}
