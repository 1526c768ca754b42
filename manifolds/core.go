package manifolds

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/juju/clock"
	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"
	"gopkg.in/tomb.v2"

	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/lease"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/raftworker"
	"github.com/interrex/interrex/state"
	"github.com/interrex/interrex/watch"
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

func pickAPI(c config.Config) config.API           { return c.API }
func pickFeatures(c config.Config) config.Features { return c.Features }
func pickNotify(c config.Config) config.Notify     { return c.Notify }

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

// dataDir is an agent's directory and identity, locked for as long as the
// worker lives.
type dataDir struct {
	raftworker.Identity
	path string
}

func (s *Set) identity() dependency.Manifold {
	return dependency.Manifold{
		Start: func(dependency.Context) (worker.Worker, error) {
			dir, free, err := s.openDataDir()
			if err != nil {
				return nil, err
			}
			end := s.Present.set(
				func(p *parts) { p.identity, p.directory = &dir.Identity, dir.path },
				func(p *parts) { p.identity, p.directory = nil, "" })
			w := keep(func() error { end(); return free() }, func() map[string]any {
				return map[string]any{"id": dir.ID, "incarnation": dir.Incarnation, "directory": dir.path}
			})
			return own(give(w, dir), patience, s.overstayed(IdentityName)), nil
		},
		Output: owned(giveOutput),
	}
}

// patience is how long an owner waits for its visitors.
const patience = 15 * time.Second

func (s *Set) openDataDir() (*dataDir, func() error, error) {
	path, remove, err := s.config.Agent.directory()
	if err != nil {
		return nil, nil, err
	}
	id, err := raftworker.OpenIdentity(path, s.config.Agent.id(path))
	if err != nil {
		return nil, nil, errors.Join(err, remove())
	}
	lock, err := raftworker.LockDir(path, "agent "+id.ID)
	if err != nil {
		return nil, nil, errors.Join(err, remove())
	}
	free := func() error { return errors.Join(lock.Unlock(), remove()) }
	return &dataDir{Identity: id, path: path}, free, nil
}

// directory gives the data directory. An agent in memory has one in a file
// system that is memory, where there is one, and leaves nothing behind.
func (c AgentConfig) directory() (path string, remove func() error, err error) {
	if c.DataDir != "" {
		return c.DataDir, func() error { return nil }, nil
	}
	parent := "/dev/shm"
	if info, err := os.Stat(parent); err != nil || !info.IsDir() {
		parent = ""
	}
	path, err = os.MkdirTemp(parent, "interrex-")
	if err != nil {
		return "", nil, fmt.Errorf("cannot make a directory for an agent in memory: %w", err)
	}
	return path, func() error { return os.RemoveAll(path) }, nil
}

// id gives the configured ID; the host's name for a directory without one.
func (c AgentConfig) id(path string) string {
	if c.ID != "" {
		return c.ID
	}
	if _, err := os.Stat(filepath.Join(path, "identity.json")); err == nil {
		return ""
	}
	host, _ := os.Hostname()
	host, _, _ = strings.Cut(strings.ToLower(host), ".")
	if host == "localhost" || config.ValidateID(host) != nil {
		return "agent"
	}
	return host
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
			unregister := s.metrics.register(queue.NewCollector(q))
			w := &freed{Worker: q, free: unregister}
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

func (s *Set) state() dependency.Manifold {
	return dependency.Manifold{
		Inputs: s.names(ClockName, IdentityName),
		Start: func(ctx dependency.Context) (worker.Worker, error) {
			now, err := get[clock.Clock](ctx, s.name(ClockName))
			if err != nil {
				return nil, err
			}
			dir, err := get[*dataDir](ctx, s.name(IdentityName))
			if err != nil {
				return nil, err
			}
			return s.newState(now, dir)
		},
		Output: owned(giveOutput),
	}
}

func (s *Set) newState(now clock.Clock, dir *dataDir) (worker.Worker, error) {
	table := lease.New(lease.Config{})
	ring := watch.New(watch.Config{})
	st, err := state.New(state.Config{
		Tables: []state.Table{table}, Publisher: publisher{ring, s.metrics.applier}, Clock: now, Logger: s.logger("state"),
	})
	if err != nil {
		return nil, err
	}
	end := s.Present.set(
		func(p *parts) { p.state, p.leases = st, table },
		func(p *parts) { p.state, p.leases = nil, nil })
	w := &stateWorker{state: st, dir: dir, clock: now, logger: s.logger("state")}
	w.tomb.Go(func() error {
		err := w.keepIdentity()
		end()
		ring.Close()
		st.Close()
		return err
	})
	return own(give(w, st, table, ring), patience, s.overstayed(StateName)), nil
}

// stateWorker keeps the replicated state, and notes on disk which cluster it
// has found itself in.
type stateWorker struct {
	tomb   tomb.Tomb
	state  *state.State
	dir    *dataDir
	clock  clock.Clock
	logger interface{ Warningf(string, ...any) }
}

// keepIdentity saves the cluster's identity once the state knows it.
func (w *stateWorker) keepIdentity() error {
	saved := w.dir.Identity
	for {
		select {
		case <-w.tomb.Dying():
			return nil
		case <-w.clock.After(200 * time.Millisecond):
		}
		known := w.state.Identity()
		if known.ClusterID == "" || known.ClusterID == saved.ClusterID && known.Epoch == saved.Epoch {
			continue
		}
		next := saved
		next.ClusterID, next.Epoch = known.ClusterID, known.Epoch
		if err := raftworker.SaveIdentity(w.dir.path, next); err != nil {
			w.logger.Warningf("%v; it is tried again", err)
			continue
		}
		saved = next
	}
}

// Kill ends the worker.
func (w *stateWorker) Kill() { w.tomb.Kill(nil) }

// Wait returns when the state is closed.
func (w *stateWorker) Wait() error { return w.tomb.Wait() }

// Report shows where the state stands.
func (w *stateWorker) Report() map[string]any {
	index, term := w.state.Applied()
	id := w.state.Identity()
	r := map[string]any{
		"revision": uint64(w.state.Revision()), "applied-index": index, "applied-term": term,
		"cluster": cmp.Or(id.ClusterID, "none yet"), "epoch": id.Epoch.Number,
	}
	if err := w.state.Halted(); err != nil {
		r["halted"] = err.Error()
	}
	return r
}
