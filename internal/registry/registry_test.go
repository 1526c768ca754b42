package registry

import (
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// has says that a registry has these metrics and no others.
func has(t *testing.T, when string, g prometheus.Gatherer, want ...string) {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range families {
		names = append(names, f.GetName())
	}
	if !slices.Equal(names, want) {
		t.Errorf("%s: there are %v, want %v", when, names, want)
	}
}

func TestTheProgramsRegistryHasWhatTheAgentsHasWhileItIsOpen(t *testing.T) {
	gauge := func(name string) prometheus.Collector {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: name})
	}
	theirs := prometheus.NewRegistry()
	r := New(theirs)
	b, inTheWay := gauge("b"), gauge("b")
	r.MustRegister(gauge("a"), b)
	theirs.MustRegister(inTheWay)
	if err := r.Publish(); err == nil || !strings.Contains(err.Error(), "cannot register the agent's metrics") {
		t.Fatalf("got %v", err)
	}
	has(t, "when one of them is there already", theirs, "b")
	theirs.Unregister(inTheWay)
	if err := r.Publish(); err != nil {
		t.Fatal(err)
	}
	has(t, "while it is open", theirs, "a", "b")

	inTheWay = gauge("c")
	theirs.MustRegister(inTheWay)
	if err := r.Register(gauge("c")); err == nil {
		t.Error("a second c was taken")
	}
	has(t, "without what theirs refuses", r.Served, "a", "b")
	theirs.Unregister(inTheWay)

	if !r.Unregister(b) || r.Unregister(b) || r.Unregister(gauge("a")) {
		t.Error("b is there once, and another a is not")
	}
	has(t, "without b", theirs, "a")
	if err := r.Withdraw(); err != nil {
		t.Fatal(err)
	}
	r.MustRegister(gauge("d"))
	has(t, "when it is closed", theirs)
	has(t, "the agent's served", r.Served, "a", "d")
	if err := r.Publish(); err != nil {
		t.Fatal(err)
	}
	has(t, "open again", theirs, "a", "d")
}
