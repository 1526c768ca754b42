package lives

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/juju/clock"
	"github.com/juju/loggo"
	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"

	"github.com/interrex/interrex/internal/testworker"
	"github.com/interrex/interrex/internal/unit"
)

func TestPanicInStartIsAnErrorOfTheWorker(t *testing.T) {
	starts := New()
	start := starts.Recorded("x", dependency.Manifold{Start: func(dependency.Context) (worker.Worker, error) { panic("boom") }})
	if _, err := start(nil); err == nil {
		t.Fatal("got no error")
	}
	if tried, err := starts.Last("x"); !tried || err == nil {
		t.Fatalf("the start is noted as %v, %v", tried, err)
	}
}

func TestTheEndOfARunThatIsKnownLateIsNotTheNextOnes(t *testing.T) {
	s := New()
	first := s.started("raft", nil, nil)
	second := s.started("raft", nil, nil)
	s.ended("raft", first, errors.New("long ago"))
	if err := s.Down("raft"); err != nil {
		t.Error(err)
	}
	s.ended("raft", second, errors.New("now"))
	if err := s.Down("raft"); err == nil || err.Error() != "now" {
		t.Error(err)
	}
}

// completed is what is added to an engine's report of a worker.
func completed(s *Lives, name, state string) map[string]any {
	is := map[string]any{dependency.KeyState: state}
	s.Complete(map[string]any{dependency.KeyManifolds: map[string]any{name: is}})
	return is
}

func TestWhatALifeHadBeforeItsNextStartIsForgotten(t *testing.T) {
	s := New()
	s.ended("raft", s.started("raft", nil, nil), errors.New("boom"))
	s.due("raft", time.Now())
	if is := completed(s, "raft", "starting"); is[dependency.KeyError] != "boom" || is[KeyNextStart] == nil || is[KeyFailures] != 1 {
		t.Errorf("while it waits: %v", is)
	}
	if is := s.report("raft", nil); is[dependency.KeyError] != "boom" {
		t.Errorf("without an engine: %v", is)
	}
	run := s.started("raft", nil, nil)
	if err := s.Down("raft"); err != nil {
		t.Errorf("when it runs: %v", err)
	}
	s.ended("raft", run, errors.New("boom again"))
	if is := completed(s, "raft", "stopped"); is[dependency.KeyError] != "boom again" || is[KeyNextStart] != nil || is[KeyFailures] != 2 {
		t.Errorf("before it is known when it starts: %v", is)
	}
}

func TestWhatTheEngineWantsIsNoFailure(t *testing.T) {
	for _, end := range []error{nil, dependency.ErrMissing, dependency.ErrBounce, dependency.ErrUninstall} {
		s := New()
		s.ended("raft", s.started("raft", nil, nil), end)
		s.due("raft", time.Now())
		if is := completed(s, "raft", "stopped"); len(is) != 1 {
			t.Errorf("after %v: %v", end, is)
		}
	}
}

func TestWhatTheEngineSaysOfAWorkerStays(t *testing.T) {
	s := New()
	s.started("raft", nil, errors.New("boom"))
	s.due("raft", time.Now())
	if is := completed(s, "raft", "started"); is[dependency.KeyError] != nil || is[KeyNextStart] != nil {
		t.Errorf("one that the engine has started: %v", is)
	}
	is := map[string]any{dependency.KeyState: "stopped", dependency.KeyError: "off"}
	s.Complete(map[string]any{dependency.KeyManifolds: map[string]any{"raft": is}})
	if is[dependency.KeyError] != "off" {
		t.Errorf("one with an error of the engine's: %v", is)
	}
}

func TestAWorkerThatIsBouncedHasNotFailed(t *testing.T) {
	for _, c := range []struct {
		filter dependency.FilterFunc
		failed bool
	}{
		{nil, true},
		{func(error) error { return dependency.ErrBounce }, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			starts := New()
			w := unit.Run(func(ctx context.Context) error { <-ctx.Done(); return errors.New("the term is over") })
			start := starts.Recorded("flag", dependency.Manifold{Start: func(dependency.Context) (worker.Worker, error) { return w, nil }, Filter: c.filter})
			if _, err := start(nil); err != nil {
				t.Fatal(err)
			}
			w.Kill()
			synctest.Wait()
			if err := starts.Down("flag"); (err != nil) != c.failed {
				t.Errorf("the worker is down: %v", err)
			}
		})
	}
}

func TestAWorkerIsUpAsLongAsItsNewestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New()
		life := func(name string) worker.Worker {
			w := idle(t, func() map[string]any { return map[string]any{"life": name} })
			s.follow("port", s.started("port", w, nil), w, nil)
			return w
		}
		up := func() float64 {
			r := prometheus.NewRegistry()
			r.MustRegister(s.up)
			families, err := r.Gather()
			if err != nil {
				t.Fatal(err)
			}
			return families[0].GetMetric()[0].GetGauge().GetValue()
		}
		end := func(w worker.Worker) {
			if err := worker.Stop(w); err != nil {
				t.Error(err)
			}
			synctest.Wait()
		}
		first, second := life("first"), life("second")
		end(first)
		if is := up(); is != 1 {
			t.Errorf("after the end of an older run up is %v", is)
		}
		if is := s.report("port", nil); fmt.Sprint(is[dependency.KeyReport]) != "map[life:second]" {
			t.Errorf("the report is of another run: %v", is)
		}
		end(second)
		if is := up(); is != 0 {
			t.Errorf("at the end up is %v", is)
		}
	})
}

// idle is a worker that does nothing.
func idle(t *testing.T, report func() map[string]any) worker.Worker {
	t.Helper()
	w, err := unit.Node{Start: func(u *unit.Unit) (worker.Worker, error) {
		u.ReportBy(report)
		return nil, nil
	}}.Manifold("idle", strings.Clone, nil).Start(testworker.Inputs(nil))
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestAWorkerThatWaitsForItsNextStartShowsWhyItFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New()
		var runs atomic.Bool
		start := s.Recorded("port", dependency.Manifold{Start: func(dependency.Context) (worker.Worker, error) {
			if !runs.Load() {
				return nil, errors.New("the port is taken")
			}
			return idle(t, nil), nil
		}})
		engine, err := dependency.NewEngine(dependency.EngineConfig{
			IsFatal: func(error) bool { return false }, WorstError: func(a, _ error) error { return a },
			ErrorDelay: time.Minute, BounceDelay: time.Millisecond, BackoffFactor: 1.2, BackoffResetTime: time.Hour, MaxDelay: time.Hour,
			Clock: clock.WallClock, Metrics: dependency.DefaultMetrics(), Logger: s.Logger(loggo.NewContext(loggo.CRITICAL).GetLogger("engine"), clock.WallClock),
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := dependency.Install(engine, dependency.Manifolds{"port": {Start: start}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		is := s.Complete(engine.Report())[dependency.KeyManifolds].(map[string]any)["port"].(map[string]any)
		next, _ := is[KeyNextStart].(time.Time)
		if is[dependency.KeyState] != "starting" || is[dependency.KeyError] != "the port is taken" || is[KeyFailures] != 1 {
			t.Errorf("while it waits: %v", is)
		}
		if left := time.Until(next); left < 40*time.Second || left > time.Minute {
			t.Errorf("the next start is in %s", left)
		}
		time.Sleep(5 * time.Minute)
		if is := s.Complete(engine.Report())[dependency.KeyManifolds].(map[string]any)["port"].(map[string]any); is[KeyFailures].(int) < 3 {
			t.Errorf("after five minutes: %v", is)
		}
		runs.Store(true)
		time.Sleep(10 * time.Minute)
		is = s.Complete(engine.Report())[dependency.KeyManifolds].(map[string]any)["port"].(map[string]any)
		if is[dependency.KeyState] != "started" || is[dependency.KeyError] != nil || is[KeyNextStart] != nil {
			t.Errorf("when it runs: %v", is)
		}
		if err := worker.Stop(engine); err != nil {
			t.Fatal(err)
		}
	})
}
