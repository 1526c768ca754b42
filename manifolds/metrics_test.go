package manifolds

import (
	"crypto/rand"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/juju/clock"
	"github.com/juju/worker/v3"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/gate"
	"github.com/interrex/interrex/internal/certificates"
	"github.com/interrex/interrex/internal/change"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/resource"
	"github.com/interrex/interrex/internal/watch"
	"github.com/interrex/interrex/internal/wire"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/state"
)

// value returns a metric without labels; false: it has none.
func value(t *testing.T, s *Set, name string) (float64, bool) {
	t.Helper()
	families, err := s.registry.served.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			m := f.GetMetric()[0]
			return m.GetGauge().GetValue() + m.GetCounter().GetValue(), true
		}
	}
	return 0, false
}

// measured returns all gauges by name and labels.
func measured(t *testing.T, s *Set) map[string]float64 {
	t.Helper()
	families, err := s.registry.served.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			found[name] = m.GetGauge().GetValue()
		}
	}
	return found
}

// given are the inputs of a start.
type given map[string][]any

func (g given) Abort() <-chan struct{} { return nil }

func (g given) Get(name string, out any) error {
	if !slices.ContainsFunc(g[name], func(value any) bool { return assign(out, value) }) {
		return errors.New("no " + name)
	}
	return nil
}

func TestADatabaseThatCannotBeOpenedIsAFailure(t *testing.T) {
	s, err := New(Config{Agent: AgentConfig{
		DataDir: t.TempDir(), Notify: config.Notify{LeaseHolders: config.NotifySQLite},
		SQLite: func(string) (*sql.DB, error) { return nil, errors.New("no such disk") },
	}})
	if err != nil {
		t.Fatal(err)
	}
	section, _ := s.configuration.Current()
	inputs := given{"config-notify": {section.Notify}, "identity": {&dataDir{}, new(gate.Gate)}}
	if _, err := s.Manifolds["projection"].Start(inputs); err == nil || err.Error() != "notify.lease-holders: cannot open the lease holders: no such disk" {
		t.Fatalf("its start says %v", err)
	}
	if n, _ := value(t, s, "interrex_projection_failures_total"); n != 1 {
		t.Errorf("%v failures are counted, want 1", n)
	}
}

func TestTheFirstCertificateThatEndsIsShown(t *testing.T) {
	const name = "interrex_tls_cert_expiry_timestamp_seconds"
	ca, err := certificates.DevCA()
	if err != nil {
		t.Fatal(err)
	}
	files, err := ca.Write(t.TempDir(), "n1")
	if err != nil {
		t.Fatal(err)
	}
	for what, user := range map[string]string{"between agents": TransportName, "the API's": APIListenerName} {
		s, err := New(Config{})
		if err != nil {
			t.Fatal(err)
		}
		runs(s, user, files)
		if end, is := value(t, s, name); !is || time.Until(time.Unix(int64(end), 0)) < time.Hour {
			t.Errorf("%s: it ends at %v (%v)", what, end, is)
		}
	}
	s, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	if _, is := value(t, s, name); is {
		t.Error("an agent without certificates shows an end")
	}
}

func TestTheLogsBytesAreThoseOfItsFiles(t *testing.T) {
	raft := t.TempDir()
	for file, size := range map[string]int{"0001-00.wal": 1000, "wal-meta.db": 200, "vote": 30, "LOCK": 4} {
		if err := os.WriteFile(filepath.Join(raft, file), make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := logBytes(raft); got != 1200 {
		t.Errorf("got %d, want 1200", got)
	}
}

func TestACollectorThatDoesNotFitIsRefusedByName(t *testing.T) {
	same := prometheus.NewGauge(prometheus.GaugeOpts{Name: "same"})
	if _, err := New(Config{Agent: AgentConfig{Collectors: []prometheus.Collector{same, same}}}); err == nil {
		t.Error("a collector given twice was taken")
	}
}

func TestWhatIsThereIsMeasured(t *testing.T) {
	s, err := New(Config{Agent: AgentConfig{Observers: &Observers{}}})
	if err != nil {
		t.Fatal(err)
	}
	const lag = "interrex_projection_lag_revisions"
	if _, is := measured(t, s)["interrex_watchers"]; is {
		t.Error("what is not there has a value")
	}
	if _, is := value(t, s, "interrex_observations_dropped_total"); !is {
		t.Error("what observers lose is not counted")
	}
	ring := watch.New(watch.Config{})
	t.Cleanup(ring.Close)
	for range 3 {
		if _, err := ring.Watch(0, func(*state.Event) bool { return true }); err != nil {
			t.Fatal(err)
		}
	}
	q, err := queue.New(queue.Config{Clock: clock.WallClock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = worker.Stop(q) })
	for _, lane := range []state.Lane{state.LaneNormal, state.LaneNormal, state.LaneExtend} {
		q.Enqueue(t.Context(), &queue.Operation{
			Operation: state.Operation{Table: state.LeaseTable}, Lane: lane,
			Deadline: time.Now().Add(time.Hour), Done: func(state.Result) {},
		})
	}
	target := &brokenTarget{hang: make(chan struct{})}
	runNotify(t, s, target)
	runs(s, StateName, newTestState(t), lease.New(), resource.New(), change.New(), ring)
	runs(s, QueueName, q)
	s.view().changes.Record(0, 1, []state.Event{{Revision: 1, Kind: interrex.UserChange}})
	write := &resource.Write{ID: wire.ValueID("", "k"), Overwrite: true}
	minted, err := write.Mint(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s.view().resources.Apply(&state.Turn{Revision: 1, Minted: minted}, write)
	eventually(t, "the lag is not that of the notifier", func() bool { return measured(t, s)[lag] == 12345 })
	is := measured(t, s)
	for name, want := range map[string]float64{
		"interrex_watchers": 3, "interrex_queue_depth normal": 2, "interrex_queue_depth extend": 1,
		"interrex_changes_kept": 1, "interrex_resources " + interrex.ValueType.Group + "." + interrex.ValueType.Kind: 1,
	} {
		if is[name] != want {
			t.Errorf("%s is %v, want %v", name, is[name], want)
		}
	}
}

func TestTheNewestSnapshotIsOneThatIsWhole(t *testing.T) {
	raft := t.TempDir()
	if taken := newestSnapshot(raft); !taken.IsZero() {
		t.Errorf("of none: %v", taken)
	}
	begin := time.Now().Add(-time.Hour).Truncate(time.Second)
	for name, at := range map[string]time.Time{"1-5-1": begin, "1-9-2": begin.Add(time.Minute), "1-2-0": begin.Add(-time.Minute), "1-12-3.tmp": begin.Add(time.Hour)} {
		path := filepath.Join(raft, "snapshots", name)
		if err := errors.Join(os.MkdirAll(path, 0o700), os.Chtimes(path, at, at)); err != nil {
			t.Fatal(err)
		}
	}
	if taken := newestSnapshot(raft); !taken.Equal(begin.Add(time.Minute)) {
		t.Errorf("got %v, want %v", taken, begin.Add(time.Minute))
	}
}
