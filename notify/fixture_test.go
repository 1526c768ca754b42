package notify_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/juju/clock"
	"go.uber.org/goleak"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/silent"
	"github.com/interrex/interrex/internal/watch"
	"github.com/interrex/interrex/notify"
	"github.com/interrex/interrex/projection"
	"github.com/interrex/interrex/state"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a small replicated state: leases, revision, identity and ring.
type world struct {
	ring *watch.Ring

	mu       sync.Mutex
	leases   map[interrex.Key]lease.Record
	revision interrex.Revision
	cluster  string
	epoch    uint64
	lists    int
}

func newWorld() *world {
	return &world{
		ring: watch.New(watch.Config{MaxEvents: 8}), cluster: "one",
		leases: map[interrex.Key]lease.Record{},
	}
}

func (w *world) Revision() interrex.Revision {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.revision
}

func (w *world) Identity() machine.Identity {
	w.mu.Lock()
	defer w.mu.Unlock()
	return machine.Identity{ClusterID: w.cluster, Epoch: interrex.Epoch{Number: w.epoch}}
}

func (w *world) List(_, _ string, after interrex.Key, _ int) (items []lease.Record, more bool) {
	const page = 2
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lists++
	for _, l := range w.leases {
		if l.Key.Compare(after) > 0 {
			items = append(items, l)
		}
	}
	slices.SortFunc(items, func(a, b lease.Record) int { return a.Key.Compare(b.Key) })
	if len(items) > page {
		return items[:page], true
	}
	return items, false
}

func (w *world) join(cluster string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cluster = cluster
}

// restore puts other content in the place of all.
func (w *world) restore(cluster string, revision interrex.Revision, held ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cluster, w.revision = cluster, revision
	w.leases = map[interrex.Key]lease.Record{}
	for _, name := range held {
		w.leases[key(name)] = record(name, "restored", revision)
	}
	w.ring.Reset(revision, 0)
}

// recover puts other content in the place of all, in the next epoch.
func (w *world) recover(revision interrex.Revision, held ...string) {
	w.mu.Lock()
	w.epoch++
	w.mu.Unlock()
	w.restore("one", revision, held...)
}

// claim and end apply one entry each.
func (w *world) claim(name, holder string) { w.apply(interrex.LeaseClaimed, name, holder) }
func (w *world) end(name string)           { w.apply(interrex.LeaseReleased, name, "") }

func (w *world) apply(kind, name, holder string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.revision++
	r := w.leases[key(name)]
	switch kind {
	case interrex.LeaseClaimed, interrex.LeaseTakenOver, interrex.LeaseTransferred:
		r = record(name, holder, w.revision)
		w.leases[r.Key] = r
	case interrex.LeaseReleased, interrex.LeaseForced, interrex.LeaseExpired:
		delete(w.leases, r.Key)
	}
	w.ring.Publish([]state.Event{{
		Revision: w.revision, Table: machine.LeaseTable, Kind: kind, Key: r.Key.String(), Value: r, Size: 1,
	}}, w.revision)
}

func key(name string) interrex.Key { return interrex.Key{Namespace: "ns", Name: name} }

func record(name, holder string, at interrex.Revision) lease.Record {
	return lease.Record{Key: key(name), Holder: holder, Token: interrex.Token(at), TTL: time.Second}
}

// target is a copy in memory that can be made to fail in every way.
type target struct {
	mu     sync.Mutex
	at     projection.Position
	rows   map[interrex.Key]notify.Claimed
	told   []string // every note, in order, also of batches that were not kept
	fail   int      // so many calls fail, after their notes were delivered
	hang   bool     // calls last until their context ends
	takes  time.Duration
	lose   bool // a batch is kept, and its answer lost
	mended int
	calls  int
	limits map[string]time.Duration // of the newest call of each method
}

func newTarget() *target {
	return &target{rows: map[interrex.Key]notify.Claimed{}, limits: map[string]time.Duration{}}
}

// limit notes how long a call may take; t.mu is held. Without a bound it is below 0.
func (t *target) limit(ctx context.Context, call string) {
	until, _ := ctx.Deadline()
	t.limits[call] = time.Until(until)
}

var errBoom = errors.New("boom")

// enter counts a call, and does what it was made to do.
func (t *target) enter(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.calls++
	t.mu.Unlock()
	time.Sleep(t.takes)
	t.mu.Lock()
	if t.hang {
		t.mu.Unlock()
		<-ctx.Done()
		t.mu.Lock()
		return ctx.Err()
	}
	if t.fail > 0 {
		t.fail--
		return errBoom
	}
	return nil
}

func (t *target) Position(ctx context.Context) (projection.Position, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.limit(ctx, "Position")
	return t.at, nil
}

func (t *target) Notify(ctx context.Context, to projection.Position, tell func(notify.NotifyTarget) error) error {
	failed := t.enter(ctx)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.limit(ctx, "Notify")
	b := &notes{target: t, rows: map[interrex.Key]notify.Claimed{}}
	for k, c := range t.rows {
		b.rows[k] = c
	}
	if err := errors.Join(tell(b), failed); err != nil {
		return err
	}
	t.rows, t.at = b.rows, to
	if t.lose {
		t.lose = false
		return errBoom
	}
	return nil
}

func (t *target) Replace(ctx context.Context, at projection.Position, pages iter.Seq2[[]notify.Claimed, error]) (int, error) {
	if err := t.enter(ctx); err != nil {
		return 0, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.limit(ctx, "Replace")
	if at.History == t.at.History && at.Revision < t.at.Revision {
		return 0, nil
	}
	t.rows = map[interrex.Key]notify.Claimed{}
	for page := range pages {
		for _, c := range page {
			t.rows[c.Key] = c
		}
	}
	t.mended++
	t.at = at
	return 1, nil
}

func (t *target) set(change func(*target)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change(t)
}

// notes is the NotifyTarget of one batch.
type notes struct {
	*target
	rows map[interrex.Key]notify.Claimed
}

func (n *notes) Claimed(c notify.Claimed) error {
	n.told = append(n.told, fmt.Sprintf("%s:%s", c.Key.Name, c.Holder))
	if c.Token > n.rows[c.Key].Token {
		n.rows[c.Key] = c
	}
	return nil
}

func (n *notes) Expirations(ended []notify.Expired) error {
	var names []string
	for _, e := range ended {
		names = append(names, e.Key.Name)
		if n.rows[e.Key].Token <= e.Token {
			delete(n.rows, e.Key)
		}
	}
	n.told = append(n.told, "-"+strings.Join(names, ","))
	return nil
}

// logs counts what is logged.
type logs struct {
	silent.Logger
	mu    sync.Mutex
	lines map[string]int
}

func (l *logs) add(level string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lines == nil {
		l.lines = map[string]int{}
	}
	l.lines[level]++
}

func (l *logs) Debugf(string, ...any)   { l.add("debug") }
func (l *logs) Infof(string, ...any)    { l.add("info") }
func (l *logs) Warningf(string, ...any) { l.add("warning") }

func (l *logs) count(level string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines[level]
}

// fixture is a worker in a bubble of virtual time.
type fixture struct {
	*testing.T
	world  *world
	target *target
	logs   *logs
	worker *notify.Worker
	failed atomic.Int64 // calls of Config.Failed
}

func bubble(t *testing.T, test func(f *fixture)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := &fixture{T: t, world: newWorld(), target: newTarget(), logs: &logs{}}
		f.target.at.History = projection.History{Cluster: "one"}
		test(f)
		f.stop()
		f.world.ring.Close()
	})
}

// start starts the worker and waits until it rests.
func (f *fixture) start() {
	f.Helper()
	w, err := notify.NewWorker(notify.Config{
		Source: f.world.ring, Leases: f.world, State: f.world, Target: f.target,
		Clock: clock.WallClock, Logger: f.logs, Failed: func() { f.failed.Add(1) },
	})
	if err != nil {
		f.Fatal(err)
	}
	f.worker = w
	synctest.Wait()
}

// stop kills the worker and demands a clean end.
func (f *fixture) stop() {
	f.Helper()
	f.worker.Kill()
	if err := f.worker.Wait(); err != nil {
		f.Errorf("the worker ended with %v", err)
	}
}

// settle waits for what the worker does within a time, retries included.
func (f *fixture) settle(d time.Duration) {
	time.Sleep(d) // of the bubble
	synctest.Wait()
}

// wantInStep demands that the copy is soon what the state is.
func (f *fixture) wantInStep() {
	f.Helper()
	f.settle(notify.DefaultPause)
	f.world.mu.Lock()
	defer f.world.mu.Unlock()
	f.target.mu.Lock()
	defer f.target.mu.Unlock()
	for k, l := range f.world.leases {
		if c := f.target.rows[k]; c.Holder != l.Holder || c.Token != l.Token {
			f.Errorf("%s: the copy has %q under %d, the state %q under %d", k, c.Holder, c.Token, l.Holder, l.Token)
		}
	}
	if len(f.target.rows) != len(f.world.leases) {
		f.Errorf("the copy has %d rows, the state %d leases", len(f.target.rows), len(f.world.leases))
	}
}
