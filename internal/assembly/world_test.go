package assembly

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"net"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/juju/loggo"
	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"
	"github.com/prometheus/client_golang/prometheus"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/gate"
	"github.com/interrex/interrex/internal/apiserver"
	"github.com/interrex/interrex/internal/certificates"
	"github.com/interrex/interrex/internal/datadir"
	"github.com/interrex/interrex/internal/disk"
	"github.com/interrex/interrex/internal/forward"
	"github.com/interrex/interrex/internal/hold"
	"github.com/interrex/interrex/internal/hookcaller"
	"github.com/interrex/interrex/internal/interest"
	"github.com/interrex/interrex/internal/lives"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/pipe"
	"github.com/interrex/interrex/internal/reads"
	"github.com/interrex/interrex/internal/testworker"
	"github.com/interrex/interrex/internal/unit"
	"github.com/interrex/interrex/internal/watch"
	"github.com/interrex/interrex/notify"
)

// world is an agent's whole graph in an engine, in a bubble of testing/synctest.
// It notes what each worker took from its inputs at its last start.
type world struct {
	*Set
	engine *dependency.Engine

	mu   sync.Mutex
	took map[string][]taken
	down map[string]func(dependency.Context) error // what their starts do instead
}

// taken is what a worker got from an input.
type taken struct {
	from  string
	as    reflect.Type // nil: only that it runs
	value any
}

// recorder notes what a start gets.
type recorder struct {
	dependency.Context
	note func(taken)
}

func (r recorder) Get(name string, out any) error {
	err := r.Context.Get(name, out)
	switch {
	case err != nil:
	case out == nil:
		r.note(taken{from: name})
	default:
		v := reflect.ValueOf(out).Elem()
		r.note(taken{name, v.Type(), v.Interface()})
	}
	return err
}

// whole is a configuration in which every worker runs. The agent is reached
// within the process.
func whole(t *testing.T) AgentConfig {
	t.Helper()
	ca, err := certificates.DevCA()
	if err != nil {
		t.Fatal(err)
	}
	certificates, err := ca.TLS("a1")
	if err != nil {
		t.Fatal(err)
	}
	return AgentConfig{
		ID: "a1", DataDir: t.TempDir(), TLS: certificates, Logger: loggo.NewContext(loggo.CRITICAL),
		API:      config.API{Listen: "127.0.0.1:0"},
		Cluster:  config.Cluster{Listen: "127.0.0.1:0"},
		Features: config.Features{Leases: config.On, Resources: config.On, Changes: config.On, Webhooks: config.On, Backstop: config.On},
		Backstop: config.Backstop{Members: []string{"a1", "a2", "a3"}},
		Notify:   config.Notify{LeaseHolders: "sqlite"},
		Backup:   config.Backup{To: t.TempDir()},
		SQLite:   func(path string) (*sql.DB, error) { return sql.Open("sqlite", "file:"+path) },
		Registry: prometheus.NewRegistry(), Observers: new(watch.Observers),
		Listen:    func(string, string) (net.Listener, error) { return pipe.Listen(), nil },
		HoldClock: hold.Since(time.Now()),
	}
}

// newWorld starts the graph.
func newWorld(t *testing.T, change ...func(*AgentConfig)) *world {
	t.Helper()
	w := &world{took: map[string][]taken{}, down: map[string]func(dependency.Context) error{}}
	c := Config{Agent: whole(t), Prefix: DefaultPrefix}
	for _, change := range change {
		change(&c.Agent)
	}
	var err error
	if w.Set, err = New(c); err != nil {
		t.Fatal(err)
	}
	delete(w.Manifolds, EngineName)
	for name, m := range w.Manifolds {
		w.Manifolds[name] = w.watched(name, m)
	}
	w.engine = testworker.Engine(t, nil)
	t.Cleanup(func() { _ = worker.Stop(w.engine) })
	for name, m := range w.Manifolds {
		if err := w.engine.Install(name, m); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.engine.Install(EngineName, lives.Engine(w.engine).Manifold(EngineName, strings.Clone, nil)); err != nil {
		t.Fatal(err)
	}
	return w
}

// watched is m, which notes what its starts take.
func (w *world) watched(name string, m dependency.Manifold) dependency.Manifold {
	start := m.Start
	m.Start = func(ctx dependency.Context) (worker.Worker, error) {
		if instead := w.begin(name); instead != nil {
			return nil, instead(ctx)
		}
		return start(recorder{ctx, func(it taken) { w.note(name, it) }})
	}
	return m
}

func (w *world) begin(name string) (instead func(dependency.Context) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.took[name] = nil
	return w.down[name]
}

func (w *world) note(name string, it taken) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.took[name] = append(w.took[name], it)
}

// takenBy returns what a worker took, from this graph.
func (w *world) takenBy(user string) (all []taken) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, it := range w.took[user] {
		if it.from != EngineName {
			all = append(all, it)
		}
	}
	return all
}

// fail has the starts of a worker fail from now on, by what instead does; nil: they
// succeed again.
func (w *world) fail(name string, instead func(dependency.Context) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down[name] = instead
}

// refuse is a start that fails.
func refuse(dependency.Context) error { return errors.New("the test refuses the start") }

// names returns the workers' names.
func (w *world) all() (names []string) {
	for name := range w.Manifolds {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// idle returns the workers that do not run.
func (w *world) idle() (names []string) {
	for _, name := range w.all() {
		if u, is := w.Lives.Worker(name).(*unit.Unit); !is || !u.Alive() {
			names = append(names, name)
		}
	}
	return names
}

// runs returns how often a worker has been started.
func (w *world) runs(name string) int {
	n, _ := reportOf(w.Report(w.engine), name)[dependency.KeyStartCount].(int)
	return n
}

// settle waits until everything has run for a second, but for those named.
func (w *world) settle(t *testing.T, but ...string) {
	t.Helper()
	for range 60 {
		for calm := 0; slices.Equal(w.idle(), but); calm++ {
			if calm == 10 {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(time.Second)
	}
	for _, name := range w.idle() {
		_, err := w.Lives.Last(name)
		t.Errorf("%s does not run: %v", name, errors.Join(err, w.Lives.Down(name)))
	}
	t.FailNow()
}

// visit keeps a worker from its end until leave is called.
func (w *world) visit(t *testing.T, name string) (leave func()) {
	t.Helper()
	var entrance gate.Entrance
	if err := unit.Output(w.Lives.Worker(name), &entrance); err != nil {
		t.Fatal(err)
	}
	visit, err := entrance.Enter("the test")
	if err != nil {
		t.Fatal(err)
	}
	return visit.Leave
}

// offered is what is in the slots, by name.
func (w *world) offered() map[string]any {
	return map[string]any{
		raftSlotName:       inSlot[*raftLife](w, raftSlotName),
		readsSlotName:      inSlot[*reads.Rounds](w, readsSlotName),
		forwarderSlotName:  inSlot[*forward.Forwarder](w, forwarderSlotName),
		hookCallerSlotName: inSlot[*hookcaller.Caller](w, hookCallerSlotName),
	}
}

// inSlot is what is in a slot; nil: nothing is.
func inSlot[T any](w *world, name string) any {
	if value, present := running[unit.Handle[T]](w.Set, name).Now(); present {
		return value
	}
	return nil
}

// frees reports whether a value is one that its owner frees.
func frees(value any) bool {
	switch value.(type) {
	case *datadir.Dir, *machine.State, *watch.Ring, *hookcaller.Caller, *apiserver.Server, *notify.SQLTarget, *client.Client, *forward.Forwarder, worker.Worker:
		return true
	}
	return false
}

// freed reports whether what a worker has taken works no more.
func freed(value any) bool {
	now, cancel := context.WithCancel(context.Background())
	cancel()
	var err error
	switch v := value.(type) {
	case *datadir.Dir:
		lock, err := disk.LockDir(v.Path, "the test")
		if err == nil {
			err = lock.Unlock()
		}
		return !errors.Is(err, disk.ErrInUse)
	case *machine.State:
		return errors.Is(v.WaitRevision(now, math.MaxInt64), interrex.ErrUnavailable)
	case *watch.Ring:
		watcher, err := v.Watch(0, interest.Scope{}, nil)
		if err == nil {
			watcher.Close()
		}
		return errors.Is(err, interrex.ErrWatchClosed)
	case *hookcaller.Caller:
		_, err = v.Ask(nil, hookcaller.Question{})
	case *apiserver.Server:
		return v.Draining()
	case *notify.SQLTarget:
		_, err = v.Position(context.Background())
	case *client.Client:
		soon, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err = v.Leases().List(soon, interrex.ListRequest{})
	case *forward.Forwarder:
		_, err = v.To("a2")
	case worker.Worker:
		return ended(v)
	}
	return err != nil
}

// ended reports whether a worker has.
func ended(w worker.Worker) bool {
	ended := make(chan struct{})
	go func() {
		_ = w.Wait()
		close(ended)
	}()
	synctest.Wait()
	select {
	case <-ended:
		return true
	default:
		return false
	}
}

// String is what is seen in a failed test.
func (t taken) String() string { return fmt.Sprintf("the %s of %s", t.as, t.from) }
