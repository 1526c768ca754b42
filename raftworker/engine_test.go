package raftworker

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/juju/clock"
	"github.com/juju/loggo"
	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"
	"gopkg.in/tomb.v2"

	"github.com/interrex/interrex/internal/peering"
	"github.com/interrex/interrex/queue"
)

// resource is a worker that only has an output.
type resource struct {
	tomb tomb.Tomb
	give func(out any)
}

func (r *resource) Kill()       { r.tomb.Kill(nil) }
func (r *resource) Wait() error { return r.tomb.Wait() }

func giving(give func(out any)) dependency.Manifold {
	return dependency.Manifold{
		Start: func(dependency.Context) (worker.Worker, error) {
			r := &resource{give: give}
			r.tomb.Go(func() error { <-r.tomb.Dying(); return nil })
			return r, nil
		},
		Output: func(w worker.Worker, out any) error { w.(*resource).give(out); return nil },
	}
}

// engineWith runs the raft manifold on one agent's resources.
func engineWith(t *testing.T, a *agent, newWorker func(Config) (worker.Worker, error)) *dependency.Engine {
	t.Helper()
	trans, err := peering.New(peering.Config{
		ID: string(a.cfg.LocalID), Clock: clock.WallClock, Logger: a.log,
		Hello: func() peering.Hello { return peering.Hello{} },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { trans.Kill(); trans.Wait() })
	engine, err := dependency.NewEngine(dependency.EngineConfig{
		IsFatal: func(error) bool { return false }, WorstError: func(a, _ error) error { return a },
		ErrorDelay: 10 * time.Millisecond, BounceDelay: time.Millisecond, BackoffFactor: 1, BackoffResetTime: time.Minute,
		Clock: clock.WallClock, Metrics: dependency.DefaultMetrics(), Logger: loggo.NewContext(loggo.CRITICAL).GetLogger("engine"),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := worker.Stop(engine); err != nil {
			t.Error(err)
		}
	})
	for name, manifold := range map[string]dependency.Manifold{
		"clock":     giving(func(out any) { *out.(*clock.Clock) = clock.WallClock }),
		"transport": giving(func(out any) { *out.(**peering.Transport) = trans }),
		"state":     giving(func(out any) { *out.(*State) = a.state }),
		"queue":     giving(func(out any) { *out.(**queue.Queue) = a.cfg.Queue }),
		"raft": Manifold(ManifoldConfig{
			ClockName: "clock", TransportName: "transport", StateName: "state", QueueName: "queue",
			Raft: a.cfg, NewWorker: newWorker, Logger: a.log,
		}),
	} {
		if err := engine.Install(name, manifold); err != nil {
			t.Fatal(err)
		}
	}
	return engine
}

// TestNoErrorOfTheWorkerIsFinalToTheEngine ends the worker with each of its
// errors: the engine logs it, restarts the worker, and continues.
func TestNoErrorOfTheWorkerIsFinalToTheEngine(t *testing.T) {
	for _, end := range []error{
		ErrNoLeaderTimeout, errRaftShutdown, errNoProgress, ErrDiskHung, ErrDiskFull, ErrDiskFailed,
		errors.New("applier: leadership transfer in progress"),
	} {
		t.Run(end.Error(), func(t *testing.T) {
			a := newAgent(t, "a", "a")
			workers := make(chan *Worker, 100)
			var starts atomic.Int64
			engineWith(t, a, func(cfg Config) (worker.Worker, error) {
				starts.Add(1)
				w, err := NewWorker(cfg)
				if err != nil {
					return nil, err
				}
				workers <- w
				return w, nil
			})
			first := <-workers
			a.leads()
			first.catacomb.Kill(end)
			if err := first.Wait(); !errors.Is(err, end) {
				t.Fatal(err)
			}
			<-workers
			a.leads()
			if starts.Load() < 2 {
				t.Errorf("%d starts", starts.Load())
			}
		})
	}
}

func TestABringUpThatFailsIsTriedAgain(t *testing.T) {
	a := newAgent(t, "a", "a")
	strange := filepath.Join(a.cfg.StorageDir, "raft.db")
	if err := os.WriteFile(strange, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 100)
	engineWith(t, a, func(cfg Config) (worker.Worker, error) {
		w, err := newWorker(cfg)
		failed <- err
		return w, err
	})
	if err := <-failed; err == nil {
		t.Fatal("started in a strange directory")
	}
	if err := os.Remove(strange); err != nil {
		t.Fatal(err)
	}
	a.leads()
}

func TestTheEnginesReportShowsRaft(t *testing.T) {
	a := newAgent(t, "a", "a")
	engine := engineWith(t, a, newWorker)
	a.leads()
	a.until("report", func() bool {
		manifolds := engine.Report()["manifolds"].(map[string]any)
		report, _ := manifolds["raft"].(map[string]any)["report"].(map[string]any)
		return fmt.Sprint(report["state"]) == raft.Leader.String()
	})
}
