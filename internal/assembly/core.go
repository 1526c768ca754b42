package assembly

import (
	"github.com/juju/clock"
	"github.com/juju/worker/v3"

	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/check"
	"github.com/interrex/interrex/internal/datadir"
	"github.com/interrex/interrex/internal/unit"
	"github.com/interrex/interrex/queue"
)

func (s *Set) startClock(u *unit.Unit) (worker.Worker, error) {
	u.Give(s.config.Agent.Clock)
	return nil, nil
}

// The parts of the configuration whose changes restart workers. What is applied
// without a restart is left out.

func pickNotify(c config.Config) config.Notify { return c.Notify }

// pickAPI leaves out what does not concern the listener.
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

// raftSection is raft's part, with the timing, which the file has under cluster.
type raftSection struct {
	config.Raft
	Timing string
}

func raftOf(c config.Config) raftSection { return raftSection{Raft: c.Raft, Timing: c.Cluster.Timing} }

// pickRaft leaves out what a running raft can change: see reloadRaft.
func pickRaft(c config.Config) raftSection {
	s := raftOf(c)
	s.HeartbeatTimeout, s.ElectionTimeout, s.SnapshotInterval, s.SnapshotThreshold = 0, 0, 0, 0
	return s
}

func (s *Set) startQueue(u *unit.Unit) (worker.Worker, error) {
	now := unit.Need[clock.Clock](u, ClockName)
	if u.Err != nil {
		return nil, u.Err
	}
	q, err := queue.New(queue.Config{Clock: now, Full: s.health.Full})
	if err != nil {
		return nil, err
	}
	u.Give(q)
	return q, nil
}

func (s *Set) startIdentity(u *unit.Unit) (worker.Worker, error) {
	c := s.config.Agent
	dir, err := datadir.Open(c.DataDir, func(path string) string { return check.ID(c.ID, path) })
	if err != nil {
		return nil, err
	}
	u.Free(dir.Close)
	s.repairCertificate(dir)
	u.Give(dir, dir.Identity)
	u.ReportBy(func() map[string]any {
		return map[string]any{"id": dir.ID, "incarnation": dir.Incarnation, "directory": dir.Path}
	})
	return nil, nil
}
