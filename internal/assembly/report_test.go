package assembly

import (
	"errors"
	"testing"

	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"

	"github.com/interrex/interrex/internal/testworker"
)

// reported returns what the report says of one worker.
func reported(t *testing.T, s *Set, name string) map[string]any {
	t.Helper()
	workers := console{s, s.Lives.WithoutEngine(s.inputs)}.Report()[dependency.KeyManifolds].(map[string]any)
	r, is := workers[name].(map[string]any)
	if !is {
		t.Fatalf("%s is not among %v", name, workers)
	}
	return r
}

func TestManifoldsInAnUnknownEngineReportThemselves(t *testing.T) {
	s, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	if r := reported(t, s, "logging"); r[dependency.KeyState] != "stopped" || r[dependency.KeyStartCount] != nil {
		t.Errorf("before its Start: %v", r)
	}
	w, err := s.Manifolds["logging"].Start(testworker.Inputs(nil))
	if err != nil {
		t.Fatal(err)
	}
	if r := reported(t, s, "logging"); r[dependency.KeyState] != "started" || r[dependency.KeyStartCount] != 1 || r[dependency.KeyLastStart] == nil {
		t.Errorf("while it runs: %v", r)
	}
	if err := worker.Stop(w); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Lives.Recorded("logging", dependency.Manifold{Start: func(dependency.Context) (worker.Worker, error) {
		return nil, errors.New("no disk")
	}})(nil); err == nil {
		t.Fatal("it starts")
	}
	if r := reported(t, s, "logging"); r[dependency.KeyError] != "no disk" {
		t.Errorf("after a start that failed: %v", r)
	}
	if len(s.Manifolds) != len(console{s, s.Lives.WithoutEngine(s.inputs)}.Report()[dependency.KeyManifolds].(map[string]any)) {
		t.Error("not every manifold is in the report")
	}
}

func TestAKnownEngineReportsAllOfItsWorkers(t *testing.T) {
	s, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	if _, is := (console{s, known{"state": "started", "manifolds": map[string]any{"mine": nil}}}).Report()[dependency.KeyManifolds].(map[string]any)["mine"]; !is {
		t.Error("the program's worker is missing")
	}
}

// known is an engine's report.
type known map[string]any

func (k known) Report() map[string]any { return k }
