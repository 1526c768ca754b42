package manifolds

import (
	"github.com/juju/clock"
	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"

	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/queue"
)

func (s *Set) clock() dependency.Manifold {
	return dependency.Manifold{
		Start: func(dependency.Context) (worker.Worker, error) {
			return give(keep(nil, nil), s.config.Agent.Clock), nil
		},
		Output: giveOutput,
	}
}

// The parts of the configuration that workers live by. What is taken up
// without a restart is left out.

func pickFeatures(c config.Config) config.Features { return c.Features }
func pickNotify(c config.Config) config.Notify     { return c.Notify }

// pickAPI leaves out what its listener does not serve.
func pickAPI(c config.Config) config.API {
	c.API.Advertise, c.API.Socket = "", ""
	return c.API
}

// socket is the path of the operator's socket, as it is configured.
type socket string

func pickSocket(c config.Config) socket { return socket(c.API.Socket) }

func pickCluster(c config.Config) config.Cluster {
	c.Cluster.Timing = ""
	return c.Cluster
}

// raftSection is raft's part: the timing stands with the cluster in the file.
type raftSection struct {
	config.Raft
	Timing string
}

func raftOf(c config.Config) raftSection { return raftSection{Raft: c.Raft, Timing: c.Cluster.Timing} }

// pickRaft leaves out what a running raft takes up: see followReloads.
func pickRaft(c config.Config) raftSection {
	s := raftOf(c)
	s.HeartbeatTimeout, s.ElectionTimeout, s.SnapshotInterval, s.SnapshotThreshold = 0, 0, 0, 0
	return s
}

func (s *Set) queue() dependency.Manifold {
	return dependency.Manifold{
		Inputs: s.names(ClockName),
		Start: func(ctx dependency.Context) (worker.Worker, error) {
			now, err := get[clock.Clock](ctx, s.name(ClockName))
			if err != nil {
				return nil, err
			}
			q, err := queue.New(queue.Config{Clock: now})
			if err != nil {
				return nil, err
			}
			end := s.Present.set(func(p *parts) { p.queue = q }, func(p *parts) { p.queue = nil })
			w := &freed{Worker: q, free: end}
			return own(give(w, q), patience, s.overstayed(QueueName)), nil
		},
		Output: owned(giveOutput),
	}
}

// freed runs free once the worker has ended, before its Wait returns.
type freed struct {
	worker.Worker
	free func()
}

func (f *freed) Wait() error {
	err := f.Worker.Wait()
	f.free()
	return err
}

// Report passes on what the worker says of itself.
func (f *freed) Report() map[string]any { return report(f.Worker) }
