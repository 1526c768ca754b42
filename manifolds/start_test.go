package manifolds

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/juju/clock"
	"github.com/juju/loggo"
	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"

	"github.com/interrex/interrex/internal/apiserver"
)

// reportOf is what a report says of one worker.
func reportOf(report map[string]any, name string) map[string]any {
	return report[dependency.KeyManifolds].(map[string]any)[name].(map[string]any)
}

func TestAWorkerThatWaitsForItsNextStartShowsWhyItFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := New(Config{Agent: AgentConfig{Logger: loggo.NewContext(loggo.CRITICAL)}})
		if err != nil {
			t.Fatal(err)
		}
		var runs atomic.Bool
		start := guard("port", dependency.Manifold{Start: func(dependency.Context) (worker.Worker, error) {
			if !runs.Load() {
				return nil, errors.New("the port is taken")
			}
			return idle(nil), nil
		}}, s.Starts, nil)
		engine, err := dependency.NewEngine(dependency.EngineConfig{
			IsFatal: func(error) bool { return false }, WorstError: func(a, _ error) error { return a },
			ErrorDelay: time.Minute, BounceDelay: time.Millisecond, BackoffFactor: 1.2, BackoffResetTime: time.Hour, MaxDelay: time.Hour,
			Clock: clock.WallClock, Metrics: dependency.DefaultMetrics(), Logger: s.EngineLogger(),
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := dependency.Install(engine, dependency.Manifolds{"port": {Start: start}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		is := reportOf(s.Report(engine), "port")
		next, _ := is[apiserver.KeyNextStart].(time.Time)
		if is[dependency.KeyState] != "starting" || is[dependency.KeyError] != "the port is taken" || is[apiserver.KeyFailures] != 1 {
			t.Errorf("while it waits: %v", is)
		}
		if left := time.Until(next); left < 40*time.Second || left > time.Minute {
			t.Errorf("the next start is in %s", left)
		}
		time.Sleep(5 * time.Minute)
		if is := reportOf(s.Report(engine), "port"); is[apiserver.KeyFailures].(int) < 3 {
			t.Errorf("after five minutes: %v", is)
		}
		runs.Store(true)
		time.Sleep(10 * time.Minute)
		is = reportOf(s.Report(engine), "port")
		if is[dependency.KeyState] != "started" || is[dependency.KeyError] != nil || is[apiserver.KeyNextStart] != nil {
			t.Errorf("when it runs: %v", is)
		}
		if err := worker.Stop(engine); err != nil {
			t.Fatal(err)
		}
	})
}

func TestTheEndOfARunThatIsKnownLateIsNotTheNextOnes(t *testing.T) {
	s := newStarts()
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
func completed(s *Starts, name, state string) map[string]any {
	is := map[string]any{dependency.KeyState: state}
	s.complete(map[string]any{dependency.KeyManifolds: map[string]any{name: is}})
	return is
}

func TestWhatALifeHadBeforeItsNextStartIsForgotten(t *testing.T) {
	s := newStarts()
	s.ended("raft", s.started("raft", nil, nil), errors.New("boom"))
	s.due("raft", time.Now())
	if is := completed(s, "raft", "starting"); is[dependency.KeyError] != "boom" || is[apiserver.KeyNextStart] == nil || is[apiserver.KeyFailures] != 1 {
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
	if is := completed(s, "raft", "stopped"); is[dependency.KeyError] != "boom again" || is[apiserver.KeyNextStart] != nil || is[apiserver.KeyFailures] != 2 {
		t.Errorf("before it is known when it starts: %v", is)
	}
}

func TestWhatTheEngineWantsIsNoFailure(t *testing.T) {
	for _, end := range []error{nil, dependency.ErrMissing, dependency.ErrBounce, dependency.ErrUninstall} {
		s := newStarts()
		s.ended("raft", s.started("raft", nil, nil), end)
		s.due("raft", time.Now())
		if is := completed(s, "raft", "stopped"); len(is) != 1 {
			t.Errorf("after %v: %v", end, is)
		}
	}
}

func TestWhatTheEngineSaysOfAWorkerStays(t *testing.T) {
	s := newStarts()
	s.started("raft", nil, errors.New("boom"))
	s.due("raft", time.Now())
	if is := completed(s, "raft", "started"); is[dependency.KeyError] != nil || is[apiserver.KeyNextStart] != nil {
		t.Errorf("one that the engine has started: %v", is)
	}
	is := map[string]any{dependency.KeyState: "stopped", dependency.KeyError: "off"}
	s.complete(map[string]any{dependency.KeyManifolds: map[string]any{"raft": is}})
	if is[dependency.KeyError] != "off" {
		t.Errorf("one with an error of the engine's: %v", is)
	}
}

func TestAWorkerIsUpAsLongAsItsNewestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := New(Config{})
		if err != nil {
			t.Fatal(err)
		}
		life := func(name string) worker.Worker {
			w := idle(func() map[string]any { return map[string]any{"life": name} })
			s.Starts.follow("port", s.Starts.started("port", w, nil), w, nil, s.metrics)
			return w
		}
		up := func() float64 {
			return measured(t, s)["interrex_worker_up port"]
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
		if is := s.Starts.report("port", nil); fmt.Sprint(is[dependency.KeyReport]) != "map[life:second]" {
			t.Errorf("the report is of another run: %v", is)
		}
		end(second)
		if is := up(); is != 0 {
			t.Errorf("at the end up is %v", is)
		}
	})
}

// idle is a worker that does nothing.
func idle(report func() map[string]any) worker.Worker {
	u := &unit{report: report, ended: make(chan struct{})}
	u.tomb.Go(u.loop)
	return u
}

// Raft's lives and the engine log through it.
func TestARaftThatIsStartedAgainDoesNotFloodTheLog(t *testing.T) {
	var log written
	loggers := loggo.NewContext(loggo.INFO)
	if err := loggers.AddWriter("test", &log); err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{Agent: AgentConfig{Logger: loggers}})
	if err != nil {
		t.Fatal(err)
	}
	engine := s.EngineLogger()
	for range 9 {
		engine.Errorf("%q manifold worker returned unexpected error: %v", "raft", "disk full")
		s.raftLog.Errorf("disk full")
	}
	if len(log) != 2 {
		t.Errorf("it has logged %q", log)
	}
}

// written are the lines of a logger's context.
type written []string

func (w *written) Write(e loggo.Entry) { *w = append(*w, e.Level.String()+" "+e.Message) }

func TestAWorkerThatIsBouncedHasNotFailed(t *testing.T) {
	for _, c := range []struct {
		filter dependency.FilterFunc
		failed bool
	}{
		{nil, true},
		{func(error) error { return dependency.ErrBounce }, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			starts := newStarts()
			w := run(func(ctx context.Context) error { <-ctx.Done(); return errors.New("the term is over") })
			start := guard("flag", dependency.Manifold{Start: func(dependency.Context) (worker.Worker, error) { return w, nil }, Filter: c.filter}, starts, nil)
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
