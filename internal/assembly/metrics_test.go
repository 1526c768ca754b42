package assembly

import (
	"database/sql"
	"errors"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/gate"
	"github.com/interrex/interrex/internal/datadir"
	"github.com/interrex/interrex/internal/testworker"
)

// measured returns all gauges and counters by name and labels.
func measured(t *testing.T, s *Set) map[string]float64 {
	t.Helper()
	families, err := s.registry.Served.Gather()
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
			found[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return found
}

func TestADatabaseThatCannotBeOpenedIsAFailure(t *testing.T) {
	s, err := New(Config{Agent: AgentConfig{
		DataDir: t.TempDir(), Notify: config.Notify{LeaseHolders: "sqlite"},
		SQLite: func(string) (*sql.DB, error) { return nil, errors.New("no such disk") },
	}})
	if err != nil {
		t.Fatal(err)
	}
	section, _ := s.configuration.Current()
	inputs := testworker.Inputs{"config-notify": {section.Notify}, "identity": {&datadir.Dir{}, new(gate.Gate)}}
	if _, err := s.Manifolds["projection"].Start(inputs); err == nil || err.Error() != "notify.lease-holders: cannot open the lease holders: no such disk" {
		t.Fatalf("its start says %v", err)
	}
	if n := measured(t, s)["interrex_projection_failures_total"]; n != 1 {
		t.Errorf("%v failures are counted, want 1", n)
	}
}

func TestACollectorThatDoesNotFitIsRefusedByName(t *testing.T) {
	same := prometheus.NewGauge(prometheus.GaugeOpts{Name: "same"})
	if _, err := New(Config{Agent: AgentConfig{Collectors: []prometheus.Collector{same, same}}}); err == nil {
		t.Error("a collector given twice was taken")
	}
}
