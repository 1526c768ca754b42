package raftworker

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/juju/clock"
	"go.uber.org/goleak"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/silent"
	"github.com/interrex/interrex/internal/testtable"
	"github.com/interrex/interrex/leaseapplier"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/raftworker/leadership"
	"github.com/interrex/interrex/state"
)

// testApplier takes nothing from the queue; it is ready as soon as it leads.
type testApplier struct {
	raft   *raft.Raft
	pokes  atomic.Int64
	ticks  atomic.Int64 // last stamps that were requested while it led
	killed chan struct{}
	once   sync.Once
	end    chan error
	ending func() // if it is not nil, Wait waits for it
}

func newTestApplier(r *raft.Raft) *testApplier {
	return &testApplier{raft: r, killed: make(chan struct{}), end: make(chan error, 1)}
}

func (a *testApplier) Kill() { a.once.Do(func() { close(a.killed) }) }
func (a *testApplier) Wait() error {
	select {
	case <-a.killed:
		if a.ending != nil {
			a.ending()
		}
		return nil
	case err := <-a.end:
		return err
	}
}
func (a *testApplier) LeadershipChanged() { a.pokes.Add(1) }
func (a *testApplier) ReadyTerm() uint64 {
	if a.raft.State() != raft.Leader {
		return 0
	}
	return a.raft.CurrentTerm()
}
func (a *testApplier) Waiting(interrex.Key) int { return 0 }
func (a *testApplier) Report() map[string]any   { return nil }
func (a *testApplier) FinalTick(context.Context) error {
	if a.raft.State() == raft.Leader {
		a.ticks.Add(1)
	}
	return nil
}

// memory is raft's in-memory transport with the two methods that a worker uses, and
// hooks for tests.
type memory struct {
	*raft.InmemTransport
	order   *[]string
	mu      *sync.Mutex
	refuse  func(to raft.ServerID, args *raft.AppendEntriesRequest) error
	drained atomic.Bool
}

func (m *memory) Drain() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drained.Store(true)
	*m.order = append(*m.order, "drain")
}

func (m *memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	*m.order = append(*m.order, "close")
	return m.InmemTransport.Close()
}

func (m *memory) AppendEntries(id raft.ServerID, to raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	if m.refuse != nil {
		if err := m.refuse(id, args); err != nil {
			return err
		}
	}
	return m.InmemTransport.AppendEntries(id, to, args, resp)
}

func (m *memory) AppendEntriesPipeline(raft.ServerID, raft.ServerAddress) (raft.AppendPipeline, error) {
	return nil, raft.ErrPipelineReplicationNotSupported
}

// agent is what outlives its raft workers.
type agent struct {
	t       *testing.T
	cfg     Config
	state   *machine.State
	tracker *leadership.Tracker
	applier *testApplier
	trans   *memory
	order   []string
	orderMu sync.Mutex
	mute    *atomic.Bool
	log     *testLog
}

type testLog struct {
	silent.Logger
	mu    sync.Mutex
	lines []string
}

func (l *testLog) add(level, f string, a []any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, level+" "+fmt.Sprintf(f, a...))
}
func (l *testLog) Debugf(f string, a ...any)    { l.add("DEBUG", f, a) }
func (l *testLog) Infof(f string, a ...any)     { l.add("INFO", f, a) }
func (l *testLog) Warningf(f string, a ...any)  { l.add("WARNING", f, a) }
func (l *testLog) Errorf(f string, a ...any)    { l.add("ERROR", f, a) }
func (l *testLog) Criticalf(f string, a ...any) { l.add("CRITICAL", f, a) }

func (l *testLog) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.lines...)
}

func newAgent(t *testing.T, id string, members ...string) *agent {
	t.Helper()
	a := &agent{t: t, tracker: new(leadership.Tracker), log: &testLog{}}
	a.state = newState(t, a.log)
	q, err := queue.New(queue.Config{Clock: clock.WallClock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.Kill(); q.Wait() })
	a.cfg = Config{
		State: a.state, Logger: a.log, StorageDir: t.TempDir(), LocalID: raft.ServerID(id),
		Clock: clock.WallClock, Queue: q, Leadership: a.tracker,
		Bootstrap:  func() ([]string, bool, error) { return members, len(members) > 0, nil },
		APIAddress: func(id string) string { return id + ":7400" },
		Transport: func(Rules) (Transport, error) {
			_, m := raft.NewInmemTransportWithTimeout(raft.ServerAddress(id), time.Second)
			a.trans = &memory{InmemTransport: m, order: &a.order, mu: &a.orderMu}
			return a.trans, nil
		},
		NewApplier: func(r *raft.Raft, _ *queue.Queue) (leaseapplier.LeaseApplier, error) {
			a.applier = newTestApplier(r)
			return a.applier, nil
		},
		HeartbeatTimeout: 100 * time.Millisecond, ElectionTimeout: 100 * time.Millisecond,
		LeaderLeaseTimeout: 50 * time.Millisecond,
	}
	return a
}

func newState(t *testing.T, log *testLog) *machine.State {
	t.Helper()
	s, err := machine.New(machine.Config{Tables: []state.Table{testtable.NewRegister()}, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (a *agent) start() *Worker {
	a.t.Helper()
	w, err := NewWorker(a.cfg)
	if err != nil {
		a.t.Fatal(err)
	}
	return w
}

func (a *agent) stop(w *Worker) {
	a.t.Helper()
	w.Kill()
	if err := w.Wait(); err != nil {
		a.t.Errorf("clean stop: %v\n%v", err, a.log.all())
	}
}

// within bounds what a test waits for. Raft pauses for up to 10 s after each try
// that fails, once it has failed for long: this waits for several.
const within = 2 * time.Minute

// until waits for what a watch of leadership is to show.
func (a *agent) until(what string, ok func() bool) {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(a.t.Context(), within)
	defer cancel()
	for !ok() {
		select {
		case <-ctx.Done():
			a.t.Fatalf("%s: not within %s: %+v\n%v", what, within, a.tracker.Current(), a.log.all())
		case <-time.After(2 * time.Millisecond):
		}
	}
}

func (a *agent) leads() {
	a.t.Helper()
	a.until("lead", func() bool { return a.tracker.Current().Ready })
}

// put writes one register through raft.
func (a *agent) put(w *Worker, key string) {
	a.t.Helper()
	r, err := w.Raft()
	if err != nil {
		a.t.Fatal(err)
	}
	future := r.Apply(a.entry(key), within)
	if err := future.Error(); err != nil {
		a.t.Fatal(err)
	}
	if results := future.Response().([]state.Result); results[0].Err != nil {
		a.t.Fatal(results[0].Err)
	}
}

// raft never answers what it applies while it shuts down (hashicorp/raft#145);
// its callers never return.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/hashicorp/raft.(*deferError).Error"),
		// Of a transfer that was interrupted (hashicorp/raft#696).
		goleak.IgnoreTopFunction("github.com/hashicorp/raft.(*Raft).leadershipTransfer"),
		goleak.IgnoreTopFunction("github.com/hashicorp/raft.(*Raft).leaderLoop.func2"))
}

var _ io.Closer = (*memory)(nil)

func (a *agent) entry(key string) []byte {
	return (&machine.Entry{
		Stamp: a.cfg.State.Now(), Wall: time.Now(),
		Operations: []state.Operation{{Table: testtable.RegisterTable, Data: testtable.Set(key, "x", 0)}},
	}).Append(nil)
}
