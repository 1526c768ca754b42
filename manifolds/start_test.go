package manifolds

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/juju/clock"
	"github.com/juju/loggo"
	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"

	"github.com/interrex/interrex/api"
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
		start := guard("port", func(dependency.Context) (worker.Worker, error) {
			if !runs.Load() {
				return nil, errors.New("the port is taken")
			}
			return keep(nil, nil), nil
		}, s.Starts, nil)
		engine, err := dependency.NewEngine(dependency.EngineConfig{
			IsFatal: func(error) bool { return false }, WorstError: func(a, _ error) error { return a },
			ErrorDelay: time.Minute, BounceDelay: time.Millisecond, BackoffFactor: 1.2, BackoffResetTime: time.Hour, MaxDelay: time.Hour,
			Clock: clock.WallClock, Metrics: dependency.DefaultMetrics(), Logger: s.EngineLogger(),
		})
		if err != nil {
			t.Fatal(err)
		}
		s.config.Engine = engine
		if err := dependency.Install(engine, dependency.Manifolds{"port": {Start: start}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		is := reportOf(s.Report(), "port")
		next, _ := is[api.KeyNextStart].(time.Time)
		if is[dependency.KeyState] != "starting" || is[dependency.KeyError] != "the port is taken" || is[api.KeyFailures] != 1 {
			t.Errorf("while it waits: %v", is)
		}
		if left := time.Until(next); left < 40*time.Second || left > time.Minute {
			t.Errorf("the next start is in %s", left)
		}
		time.Sleep(5 * time.Minute)
		if is := reportOf(s.Report(), "port"); is[api.KeyFailures].(int) < 3 {
			t.Errorf("after five minutes: %v", is)
		}
		runs.Store(true)
		time.Sleep(10 * time.Minute)
		is = reportOf(s.Report(), "port")
		if is[dependency.KeyState] != "started" || is[dependency.KeyError] != nil || is[api.KeyNextStart] != nil {
			t.Errorf("when it runs: %v", is)
		}
		if err := worker.Stop(engine); err != nil {
			t.Fatal(err)
		}
	})
}

func TestTheEndOfARunThatIsKnownLateIsNotTheNextOnes(t *testing.T) {
	s := newStarts()
	first := s.started("raft", nil)
	second := s.started("raft", nil)
	s.ended("raft", first, errors.New("long ago"))
	if err := s.Down("raft"); err != nil {
		t.Error(err)
	}
	s.ended("raft", second, errors.New("now"))
	if err := s.Down("raft"); err == nil || err.Error() != "now" {
		t.Error(err)
	}
}
