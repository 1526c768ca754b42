package leaseapplier

import (
	"fmt"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"github.com/juju/clock"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/appliermetrics"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/state"
)

// raft never answers what it applies while it shuts down (hashicorp/raft#145);
// its callers never return.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/hashicorp/raft.(*deferError).Error"),
		// Of a transfer that was interrupted (hashicorp/raft#696).
		goleak.IgnoreTopFunction("github.com/hashicorp/raft.(*Raft).leadershipTransfer"),
		goleak.IgnoreTopFunction("github.com/hashicorp/raft.(*Raft).leaderLoop.func2"))
}

// memRaft is a raft of one: it applies entries in order, after a while, and can be
// made to fail in every way that a raft does.
type memRaft struct {
	fsm func(*raft.Log) any

	mu         sync.Mutex
	role       raft.RaftState
	term       uint64
	leader     string
	index      uint64
	latency    time.Duration
	refusal    error           // of Apply and Barrier, at once
	refusesOne error           // of the next Apply
	fate       func() error    // of each entry once its turn has come; nil: applied
	tamper     func(any) any   // of responses
	panics     bool            // Apply does
	holds      bool            // entries stay in the log
	log        []*memFuture    // accepted, not yet answered
	entries    []machine.Entry // of everything that was accepted
	at         []time.Time     // when
	bounds     []time.Duration // that Apply and Barrier were given
	timeouts   []time.Duration // that they came with
	barriers   int
	wake       chan struct{}
	stopped    chan struct{}
}

type memFuture struct {
	data     []byte // nil: a barrier
	index    uint64
	err      error
	response any
	done     chan struct{}
}

func (f *memFuture) Error() error  { <-f.done; return f.err }
func (f *memFuture) Response() any { return f.response }
func (f *memFuture) Index() uint64 { return f.index }

func (r *memRaft) State() raft.RaftState { r.mu.Lock(); defer r.mu.Unlock(); return r.role }
func (r *memRaft) CurrentTerm() uint64   { r.mu.Lock(); defer r.mu.Unlock(); return r.term }
func (r *memRaft) LeaderWithID() (raft.ServerAddress, raft.ServerID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return raft.ServerAddress(r.leader), raft.ServerID(r.leader)
}

func (r *memRaft) Apply(cmd []byte, bound time.Duration) raft.ApplyFuture {
	var e machine.Entry
	err := e.Decode(cmd)
	if err != nil {
		panic(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.panics {
		panic("raft panics")
	}
	r.bounds = append(r.bounds, bound)
	if err := r.refusesOne; err != nil {
		f := &memFuture{err: err, done: make(chan struct{})}
		close(f.done)
		r.refusesOne = nil
		return f
	}
	f := r.accept(cmd)
	if f.err == nil {
		r.entries, r.at, r.timeouts = append(r.entries, e), append(r.at, time.Now()), append(r.timeouts, bound)
	}
	return f
}

func (r *memRaft) Barrier(bound time.Duration) raft.Future {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bounds = append(r.bounds, bound)
	r.barriers++
	return r.accept(nil)
}

func (r *memRaft) accept(cmd []byte) *memFuture {
	f := &memFuture{data: cmd, done: make(chan struct{})}
	switch {
	case r.refusal != nil:
		f.err = r.refusal
	case r.role != raft.Leader:
		f.err = raft.ErrNotLeader
	}
	if f.err != nil {
		close(f.done)
		return f
	}
	r.log = append(r.log, f)
	r.poke()
	return f
}

func (r *memRaft) poke() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// run commits the log.
func (r *memRaft) run() {
	for {
		select {
		case <-r.stopped:
			return
		case <-r.wake:
		}
		for r.commitOne() {
		}
	}
}

func (r *memRaft) commitOne() bool {
	r.mu.Lock()
	if len(r.log) == 0 || r.holds {
		r.mu.Unlock()
		return false
	}
	latency := r.latency
	r.mu.Unlock()
	if latency > 0 {
		time.Sleep(latency)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.log) == 0 || r.holds {
		return false
	}
	f := r.log[0]
	r.log = r.log[1:]
	r.answer(f)
	return true
}

// answer applies an entry, or fails it as planned. The lock is held.
func (r *memRaft) answer(f *memFuture) {
	defer close(f.done)
	r.index++
	f.index = r.index
	if f.data == nil {
		return
	}
	if r.fate != nil {
		if f.err = r.fate(); f.err != nil {
			return
		}
	}
	f.response = r.fsm(&raft.Log{Index: f.index, Term: r.term, Type: raft.LogCommand, Data: f.data})
	if r.tamper != nil {
		f.response = r.tamper(f.response)
	}
}

// set changes the raft under its lock.
func (r *memRaft) set(f func(r *memRaft)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(r)
	r.poke()
}

// lose ends leadership: of the entries in the log the first keep survive and
// are applied, as by the next leader; all are answered with ErrLeadershipLost.
func (r *memRaft) lose(leader string, keep int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.role, r.leader = raft.Follower, leader
	for i, f := range r.log {
		if f.data != nil && i < keep {
			r.index++
			r.fsm(&raft.Log{Index: r.index, Term: r.term, Type: raft.LogCommand, Data: f.data})
		}
		f.err = raft.ErrLeadershipLost
		close(f.done)
	}
	r.log = nil
	r.term++
}

func (r *memRaft) lead() {
	r.set(func(r *memRaft) { r.role, r.leader, r.term = raft.Leader, "me", r.term+1 })
}

func (r *memRaft) written() []machine.Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]machine.Entry(nil), r.entries...)
}

// logs keeps what is logged.
type logs struct {
	t  *testing.T
	mu sync.Mutex
	at map[string]int
}

func (l *logs) log(level, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.at[level]++
	if level == "debug" {
		return
	}
	if l.t == nil {
		return
	}
	l.t.Logf("%s: %s", level, fmt.Sprintf(format, args...))
}
func (l *logs) Criticalf(f string, a ...any) { l.log("critical", f, a...) }
func (l *logs) Errorf(f string, a ...any)    { l.log("error", f, a...) }
func (l *logs) Warningf(f string, a ...any)  { l.log("warning", f, a...) }
func (l *logs) Infof(f string, a ...any)     { l.log("info", f, a...) }
func (l *logs) Debugf(f string, a ...any)    { l.log("debug", f, a...) }
func (l *logs) count(level string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.at[level]
}

// rig is an applier with everything around it.
type rig struct {
	t       *testing.T
	raft    *memRaft
	queue   *queue.Queue
	state   *machine.State
	leases  *lease.Table
	logs    *logs
	metrics *appliermetrics.Metrics
	applier *Applier
	config  Config
}

// newRig makes a rig that leads and is ready.
func newRig(t *testing.T, change ...func(*Config)) *rig {
	t.Helper()
	return newRigPublishing(t, nil, change...)
}

// newRigPublishing is newRig with a publisher that gets every event.
func newRigPublishing(t *testing.T, p machine.Publisher, change ...func(*Config)) *rig {
	t.Helper()
	leases := lease.New()
	r := newRigOf(t, machine.Config{Tables: []state.Table{leases}, Publisher: p}, change...)
	r.leases = leases
	return r
}

// newRigOf is newRig with any tables.
func newRigOf(t *testing.T, c machine.Config, change ...func(*Config)) *rig {
	t.Helper()
	r := &rig{t: t, logs: &logs{t: t, at: map[string]int{}}}
	r.metrics = appliermetrics.New(clock.WallClock)
	var err error
	if r.state, err = machine.New(c); err != nil {
		t.Fatal(err)
	}
	if r.queue, err = queue.New(queue.Config{Clock: clock.WallClock}); err != nil {
		t.Fatal(err)
	}
	r.raft = &memRaft{
		fsm: r.state.Apply, role: raft.Leader, leader: "me", term: 1, latency: time.Millisecond,
		wake: make(chan struct{}, 1), stopped: make(chan struct{}),
	}
	go r.raft.run()
	r.config = Config{
		Raft: r.raft, Queue: r.queue, State: r.state, Clock: clock.WallClock,
		Logger: r.logs, Metrics: r.metrics, Address: func(id string) string { return id + ":7400" },
	}
	for _, f := range change {
		f(&r.config)
	}
	r.start()
	t.Cleanup(r.close)
	return r
}

func (r *rig) start() {
	r.t.Helper()
	var err error
	if r.applier, err = NewApplier(r.config); err != nil {
		r.t.Fatal(err)
	}
	time.Sleep(5 * time.Millisecond)
	synctest.Wait()
}

// name opens a name for request ids, as if an earlier leader had.
func (r *rig) name(bits uint64) (text string) {
	r.t.Helper()
	e := &machine.Entry{Stamp: r.state.Now(), Operations: []state.Operation{{Table: machine.SystemTable, Data: (&machine.OpenName{Bits: bits}).Append(nil)}}}
	r.raft.set(func(m *memRaft) {
		m.index++
		results, _ := m.fsm(&raft.Log{Index: m.index, Term: m.term, Type: raft.LogCommand, Data: e.Append(nil)}).([]state.Result)
		if len(results) != 1 || results[0].Err != nil {
			r.t.Fatalf("cannot open a name: %+v", results)
		}
		text = results[0].Reply.(*machine.OpenedName).Name
	})
	return text
}

// close stops everything; what raft still owes is answered then.
func (r *rig) close() {
	r.applier.Kill()
	_ = r.applier.Wait() // the test has looked at it, where it matters
	r.raft.lose("", 0)
	close(r.raft.stopped)
	r.queue.Kill()
	if err := r.queue.Wait(); err != nil {
		r.t.Error(err)
	}
}

// call is an operation and what it was answered.
type call struct {
	*queue.Operation
	t    *testing.T
	mu   sync.Mutex
	got  []state.Result
	at   time.Time
	stop chan struct{}
}

func newCall(t *testing.T, command state.Command) *call {
	c := &call{t: t, stop: make(chan struct{})}
	c.Operation = &queue.Operation{
		Operation: state.Operation{Table: machine.LeaseTable, Data: command.Append(nil)},
		Command:   command, Extend: command.About().Extend, Stop: c.stop,
	}
	c.Done = func(r state.Result) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.got, c.at = append(c.got, r), time.Now()
	}
	return c
}

func (c *call) isOpen() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.got) == 0
}

// result is the one answer.
func (c *call) result() state.Result {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.got) != 1 {
		c.t.Fatalf("answered %d times, want once", len(c.got))
	}
	return c.got[0]
}

func (c *call) kind() interrex.Kind { c.t.Helper(); return interrex.KindOf(c.result().Err) }

func (c *call) want(k interrex.Kind) {
	c.t.Helper()
	if got := c.kind(); got != k {
		c.t.Fatalf("answered %q (%v), want %q", got, c.result().Err, k)
	}
}

func (c *call) token() interrex.Token {
	c.t.Helper()
	r := c.result()
	if r.Err != nil {
		c.t.Fatalf("refused: %v", r.Err)
	}
	return r.Reply.(*lease.Reply).Lease.Token
}

var db = interrex.Key{Namespace: "default", Name: "db"}

func (r *rig) claim(k interrex.Key, holder string, ttl time.Duration) *call {
	return newCall(r.t, &lease.Claim{Key: k, Holder: holder, TTL: ttl})
}

// waiting makes a claim of db that waits.
func (r *rig) waiting(holder, id string, attempt uint32, d, every time.Duration) *call {
	c := r.claim(db, holder, time.Second)
	c.RequestID, c.Attempt = id, attempt
	c.Wait = &queue.Wait{Until: time.Now().Add(d), Every: every}
	return c
}

func (r *rig) revoke(k interrex.Key, token interrex.Token) *call {
	return newCall(r.t, &lease.Revoke{Key: k, Token: token})
}

// put enqueues calls, and lets everything happen that happens at once.
func (r *rig) put(calls ...*call) *call {
	r.t.Helper()
	ops := make([]*queue.Operation, len(calls))
	for i, c := range calls {
		ops[i] = c.Operation
	}
	r.queue.Enqueue(r.t.Context(), ops...)
	synctest.Wait()
	return calls[0]
}

// do puts a call and waits until its entry has been applied.
func (r *rig) do(c *call) *call {
	r.t.Helper()
	r.put(c)
	r.pass(10 * time.Millisecond)
	return c
}

// pass lets time pass.
func (r *rig) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// do2 puts calls as one batch and waits until their entry has been applied.
func (r *rig) do2(calls ...*call) {
	r.t.Helper()
	r.put(calls...)
	r.pass(10 * time.Millisecond)
}

var testClock = clock.WallClock

type fakeQueue struct{ Queue }

// gather returns the metrics by name and labels; of histograms and summaries the
// number of observations.
func gather(t *testing.T, c prometheus.Collector) map[string]float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(c)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			out[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue() +
				float64(m.GetHistogram().GetSampleCount()+m.GetSummary().GetSampleCount())
		}
	}
	return out
}

// many makes claims of as many names.
func (r *rig) many(n int) []*call {
	var out []*call
	for i := range n {
		out = append(out, r.claim(interrex.Key{Namespace: "many", Name: strconv.Itoa(i)}, "ann", time.Minute))
	}
	return out
}
