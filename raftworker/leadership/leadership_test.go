package leadership

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/juju/clock"
	"github.com/juju/loggo"
	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"
	"go.uber.org/goleak"
	"gopkg.in/tomb.v2"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gate"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func leads(term uint64) interrex.Leadership {
	return interrex.Leadership{Term: term, LeaderID: "me", Leader: true, Ready: true}
}

func follows(term uint64) interrex.Leadership {
	return interrex.Leadership{Term: term, LeaderID: "other"}
}

func TestAWatchReplaysThePresentAndCoalesces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracker := new(Tracker)
		if l, err := tracker.Watch().Next(t.Context()); err != nil || l != (interrex.Leadership{}) {
			t.Fatalf("of what nobody was told yet: %+v %v", l, err)
		}
		tracker.Set(follows(3))
		w := tracker.Watch()
		if l, err := w.Next(t.Context()); err != nil || l != follows(3) {
			t.Fatalf("%+v %v", l, err)
		}
		tracker.Set(leads(4))
		tracker.Set(follows(5))
		tracker.Set(leads(6))
		if l, err := w.Next(t.Context()); err != nil || l != leads(6) {
			t.Fatalf("%+v %v", l, err)
		}
		tracker.Set(leads(6)) // no news
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := w.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		go func() { time.Sleep(time.Second); tracker.Lost() }()
		if l, err := w.Next(t.Context()); err != nil || l != (interrex.Leadership{Term: 6}) {
			t.Fatalf("%+v %v", l, err)
		}
	})
}

func TestAWatchOfNothingYetReplaysThat(t *testing.T) {
	if l, err := new(Tracker).Watch().Next(t.Context()); err != nil || l != (interrex.Leadership{}) {
		t.Fatalf("%+v %v", l, err)
	}
}

func TestATermNeverFalls(t *testing.T) {
	tracker := new(Tracker)
	tracker.Set(follows(7))
	tracker.Set(leads(6))
	if l := tracker.Current(); l != follows(7) {
		t.Fatalf("%+v", l)
	}
}

func TestAFlagLivesOneTerm(t *testing.T) {
	for name, c := range map[string]struct {
		held, then interrex.Leadership
		check      bool
		term       uint64
		ends       bool
	}{
		"leader loses":              {leads(4), follows(5), true, 4, true},
		"leader wins the next":      {leads(4), leads(6), true, 4, true},
		"leader is no longer ready": {leads(4), interrex.Leadership{Term: 4, LeaderID: "me", Leader: true}, true, 4, true},
		"follower comes to lead":    {follows(4), leads(5), false, 0, true},
		"follower stays one":        {follows(4), follows(9), false, 0, false},
		"leader that is not ready":  {follows(4), interrex.Leadership{Term: 5, LeaderID: "me", Leader: true}, false, 0, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			tracker := new(Tracker)
			tracker.Set(c.held)
			w, err := NewWorker(tracker)
			if err != nil {
				t.Fatal(err)
			}
			if w.Check() != c.check || w.Term() != c.term {
				t.Errorf("%s: %v in term %d", name, w.Check(), w.Term())
			}
			tracker.Set(c.then)
			synctest.Wait()
			ended := false
			select {
			case <-w.catacomb.Dead():
				ended = true
			default:
			}
			if ended != c.ends || w.Check() != c.check {
				t.Errorf("%s: ended %v, answer %v", name, ended, w.Check())
			}
			w.Kill()
			if err := w.Wait(); c.ends != errors.Is(err, ErrChanged) {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}

func TestAFlagNeedsATracker(t *testing.T) {
	if err := (ManifoldConfig{RaftName: "raft"}).Validate(); err == nil || err.Error() != "nil Tracker not valid" {
		t.Fatal(err)
	}
	if err := (ManifoldConfig{}).Validate(); err == nil || err.Error() != "empty RaftName not valid" {
		t.Fatal(err)
	}
}

// idle is a worker that lives until it is killed.
type idle struct{ tomb tomb.Tomb }

func newIdle() *idle {
	w := new(idle)
	w.tomb.Go(func() error { <-w.tomb.Dying(); return nil })
	return w
}
func (w *idle) Kill()       { w.tomb.Kill(nil) }
func (w *idle) Wait() error { return w.tomb.Wait() }

// TestDependentsRunOnlyInATerm runs the flag in the engine: what is gated by
// it runs once in each term that this agent leads, never across two.
func TestDependentsRunOnlyInATerm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracker := new(Tracker)
		var starts atomic.Int64
		var running atomic.Pointer[idle]
		engine := startEngine(t, dependency.Manifolds{
			"raft":   {Start: func(dependency.Context) (worker.Worker, error) { return newIdle(), nil }},
			"leader": Manifold(ManifoldConfig{RaftName: "raft", Tracker: tracker}),
			"gated": {Inputs: []string{"leader"}, Start: func(ctx dependency.Context) (worker.Worker, error) {
				var flag gate.Flag
				if err := ctx.Get("leader", &flag); err != nil {
					return nil, err
				}
				if !flag.Check() {
					return nil, dependency.ErrMissing
				}
				starts.Add(1)
				w := newIdle()
				running.Store(w)
				return w, nil
			}},
		})
		after := func(l interrex.Leadership, wantStarts int64, wantAlive bool) {
			t.Helper()
			tracker.Set(l)
			time.Sleep(5 * time.Second) // of virtual time
			alive := running.Load() != nil && running.Load().tomb.Alive()
			if starts.Load() != wantStarts || alive != wantAlive {
				t.Fatalf("after %+v: started %d times, alive %v", l, starts.Load(), alive)
			}
		}
		after(follows(1), 0, false)
		after(leads(2), 1, true)
		after(follows(3), 1, false)
		after(leads(4), 2, true)
		after(leads(6), 3, true)
		after(interrex.Leadership{Term: 6}, 3, false)
		if err := worker.Stop(engine); err != nil {
			t.Fatal(err)
		}
	})
}

func startEngine(t *testing.T, manifolds dependency.Manifolds) *dependency.Engine {
	t.Helper()
	engine, err := dependency.NewEngine(dependency.EngineConfig{
		IsFatal: func(error) bool { return false }, WorstError: func(a, _ error) error { return a },
		ErrorDelay: 3 * time.Second, BounceDelay: 10 * time.Millisecond, BackoffFactor: 1.2,
		BackoffResetTime: time.Minute, MaxDelay: 2 * time.Minute,
		Clock: clock.WallClock, Metrics: dependency.DefaultMetrics(), Logger: loggo.NewContext(loggo.CRITICAL).GetLogger("engine"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := dependency.Install(engine, manifolds); err != nil {
		t.Fatal(err)
	}
	return engine
}
