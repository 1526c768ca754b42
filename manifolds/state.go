package manifolds

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/juju/clock"
	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"
	"gopkg.in/tomb.v2"

	"github.com/interrex/interrex/api"
	"github.com/interrex/interrex/change"
	"github.com/interrex/interrex/fsm"
	"github.com/interrex/interrex/lease"
	"github.com/interrex/interrex/raftworker"
	"github.com/interrex/interrex/resource"
	"github.com/interrex/interrex/state"
	"github.com/interrex/interrex/watch"
	"github.com/interrex/interrex/webhook"
)

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
	table, resources, changes, hooks := ownTables()
	tables, services := s.config.Agent.tables()
	machine, err := s.config.Agent.machine(now, s.logger("fsm"))
	if err != nil {
		return nil, err
	}
	if machine != nil {
		tables, services = append(tables, machine), append(services, api.Machine())
	}
	ring := watch.New(watch.Config{Backlog: changes})
	st, err := state.New(state.Config{
		Tables: append(tables, table, resources, changes, hooks), Publisher: publisher{ring, s.metrics.applier}, Clock: now, Logger: s.logger("state"),
	})
	if err != nil {
		return nil, err
	}
	end := s.Present.set(
		func(p *parts) {
			p.state, p.leases, p.resources, p.changes, p.webhooks, p.machine, p.ring = st, table, resources, changes, hooks, machine, ring
		},
		func(p *parts) {
			p.state, p.leases, p.resources, p.changes, p.webhooks, p.machine, p.ring = nil, nil, nil, nil, nil, nil, nil
		})
	w := &stateWorker{state: st, dir: dir, clock: now, logger: s.logger("state")}
	w.tomb.Go(func() error {
		err := w.keepIdentity()
		end()
		ring.Close()
		changes.Close()
		st.Close()
		return err
	})
	return own(give(w, st, table, resources, changes, hooks, ring, services), patience, s.overstayed(StateName)), nil
}

// ownTables makes interrex's own tables, empty.
func ownTables() (*lease.Table, *resource.Table, *change.Table, *webhook.Table) {
	return lease.New(lease.Config{}), resource.New(), change.New(), webhook.New(webhook.Config{})
}

// NewState makes an empty state of interrex's own tables, for reading an agent's
// directory while the agent does not run.
func NewState(logger state.Logger) (*state.State, error) {
	leases, resources, changes, hooks := ownTables()
	return state.New(state.Config{Tables: []state.Table{leases, resources, changes, hooks}, Logger: logger})
}

// machine makes the table of the embedder's own state machine; nil: there is none.
func (c AgentConfig) machine(now clock.Clock, logger fsm.Logger) (*fsm.Table, error) {
	if c.FSM == nil {
		return nil, nil
	}
	m := c.FSM()
	if m == nil {
		return nil, errors.New("cannot make the state machine: Config.FSM returned nil")
	}
	return fsm.New(fsm.Config{Machine: m, Clock: now, Logger: logger})
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
	for first := saved.ClusterID == ""; w.wait(first); first = false {
		known := w.state.Identity()
		if known.ClusterID == "" || known.ClusterID == saved.ClusterID && known.Epoch == saved.Epoch {
			continue
		}
		next := saved
		next.ClusterID, next.Epoch, next.Incarnations = known.ClusterID, known.Epoch, known.Incarnations
		if err := raftworker.SaveIdentity(w.dir.path, next); err != nil {
			w.logger.Warningf("%v; it is tried again", err)
			continue
		}
		saved = next
	}
	return nil
}

// wait waits until the next look at the state's identity: the first time until
// the entry with it is applied, so that a crash soon after finds it on disk. It
// reports false when the worker ends.
func (w *stateWorker) wait(first bool) bool {
	if first && w.state.WaitRevision(w.tomb.Context(context.Background()), 1) == nil {
		return true
	}
	select {
	case <-w.tomb.Dying():
		return false
	case <-w.clock.After(200 * time.Millisecond):
		return true
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
