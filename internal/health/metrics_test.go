package health

import (
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/juju/clock"
	"github.com/juju/worker/v3"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/certificates"
	"github.com/interrex/interrex/internal/change"
	"github.com/interrex/interrex/internal/interest"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/resource"
	"github.com/interrex/interrex/internal/watch"
	"github.com/interrex/interrex/internal/wire"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/state"
)

// gathered are the metrics of an agent's health.
func gathered(h *Health) ([]*dto.MetricFamily, error) {
	r := prometheus.NewRegistry()
	if err := r.Register(h); err != nil {
		return nil, err
	}
	return r.Gather()
}

// value returns a metric without labels; false: it has none.
func value(t *testing.T, h *Health, name string) (float64, bool) {
	t.Helper()
	families, err := gathered(h)
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
func measured(t *testing.T, h *Health) map[string]float64 {
	t.Helper()
	families, err := gathered(h)
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
	for what, use := range map[string]func(*View){
		"between agents": func(v *View) { v.ClusterTLS = files }, "the API's": func(v *View) { v.APITLS = files },
	} {
		a := newAgent(t)
		use(&a.view)
		if end, is := value(t, a.health, name); !is || time.Until(time.Unix(int64(end), 0)) < time.Hour {
			t.Errorf("%s: it ends at %v (%v)", what, end, is)
		}
	}
	a := newAgent(t)
	if _, is := value(t, a.health, name); is {
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

func TestWhatIsThereIsMeasured(t *testing.T) {
	a := newAgent(t)
	a.view.Observers = &watch.Observers{}
	const lag = "interrex_projection_lag_revisions"
	if _, is := measured(t, a.health)["interrex_watchers"]; is {
		t.Error("what is not there has a value")
	}
	if _, is := value(t, a.health, "interrex_observations_dropped_total"); !is {
		t.Error("what observers lose is not counted")
	}
	ring := watch.New(watch.Config{})
	t.Cleanup(ring.Close)
	for range 3 {
		if _, err := ring.Watch(0, interest.Scope{}, func(*state.Event) bool { return true }); err != nil {
			t.Fatal(err)
		}
	}
	q, err := queue.New(queue.Config{Clock: clock.WallClock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = worker.Stop(q) })
	for _, extend := range []bool{false, false, true} {
		q.Enqueue(t.Context(), &queue.Operation{
			Operation: state.Operation{Table: machine.LeaseTable}, Extend: extend,
			Deadline: time.Now().Add(time.Hour), Done: func(state.Result) {},
		})
	}
	target := &brokenTarget{hang: make(chan struct{})}
	runNotify(t, a, target)
	a.view.State, a.view.Leases, a.view.Resources, a.view.Changes = newTestState(t), lease.New(), resource.New(), change.New()
	a.view.Ring, a.view.Queue = ring, q
	a.view.Changes.Record(0, 1, []state.Event{{Revision: 1, Kind: interrex.UserChange}})
	write := &resource.Write{ID: wire.ValueID("", "k"), Overwrite: true}
	minted, err := write.Mint(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a.view.Resources.Apply(&state.Turn{Revision: 1, Minted: minted}, write)
	eventually(t, "the lag is not that of the notifier", func() bool { return measured(t, a.health)[lag] == 12345 })
	is := measured(t, a.health)
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
