package assembly

import (
	"cmp"
	"errors"

	"github.com/juju/clock"
	"github.com/juju/worker/v3"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/access"
	"github.com/interrex/interrex/internal/change"
	"github.com/interrex/interrex/internal/datadir"
	"github.com/interrex/interrex/internal/fsm"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/member"
	"github.com/interrex/interrex/internal/method"
	"github.com/interrex/interrex/internal/resource"
	"github.com/interrex/interrex/internal/services"
	"github.com/interrex/interrex/internal/unit"
	"github.com/interrex/interrex/internal/watch"
	"github.com/interrex/interrex/internal/webhook"
	"github.com/interrex/interrex/state"
)

func (s *Set) startState(u *unit.Unit) (worker.Worker, error) {
	now, dir := unit.Need[clock.Clock](u, ClockName), unit.Need[*datadir.Dir](u, identityName)
	if u.Err != nil {
		return nil, u.Err
	}
	own, tables, served, embedders, err := s.tables(now)
	if err != nil {
		return nil, err
	}
	ring := watch.New(watch.Config{Backlog: own.changes})
	condemned := s.comparisons.Begin()
	st, err := machine.New(machine.Config{
		Tables: tables, Publisher: publisher{ring, s.metrics.applier}, Frozen: s.comparisons.Put, Clock: now, Logger: s.logger("state"),
	})
	if err != nil {
		return nil, err
	}
	u.After(func() {
		if o := s.config.Agent.Observers; o != nil {
			o.Flush() // raft has ended
		}
		ring.Close()
		own.changes.Close()
		st.Close()
		s.comparisons.End()
	})
	u.Give(st, own.leases, own.resources, own.changes, own.hooks, own.members, own.access, embedders, ring, served)
	u.ReportBy(func() map[string]any { return reportState(st) })
	return unit.Run(endedBy(condemned, dir.KeepIdentity(st, own.members.Disks, now, s.logger("state")))), nil
}

// builtin are the tables of interrex.
type builtin struct {
	leases    *lease.Table
	resources *resource.Table
	changes   *change.Table
	hooks     *webhook.Table
	members   *member.Table
	access    *access.Table
}

// newBuiltin makes them, empty.
func newBuiltin() builtin {
	return builtin{lease.New(), resource.New(), change.New(), webhook.New(), member.New(), access.New()}
}

func (b builtin) all() []state.Table {
	return []state.Table{b.leases, b.resources, b.changes, b.hooks, b.members, b.access}
}

// OwnTables makes the tables of interrex, empty.
func OwnTables() []state.Table { return newBuiltin().all() }

// tables makes the tables of this agent, empty: interrex's, those of the embedder, and
// that of the embedder's machine, which is nil where there is none.
func (s *Set) tables(now clock.Clock) (own builtin, all []state.Table, served []method.Service, embedders *fsm.Table, err error) {
	own = newBuiltin()
	all, served = s.config.Agent.tables()
	if embedders, err = s.config.Agent.machine(now, s.logger("fsm")); embedders != nil {
		all, served = append(all, embedders), append(served, services.Machine())
	}
	return own, append(all, own.all()...), served, embedders, err
}

// NewState makes an empty state of the tables of interrex, for reading an agent's
// directory while the agent does not run; members is one of them.
func NewState(logger interrex.Logger) (st *machine.State, members *member.Table, err error) {
	own := newBuiltin()
	st, err = machine.New(machine.Config{Tables: own.all(), Logger: logger})
	return st, own.members, err
}

// machine makes the table of the embedder's own state machine; nil: there is none.
func (c AgentConfig) machine(now clock.Clock, logger interrex.Logger) (*fsm.Table, error) {
	if c.FSM == nil {
		return nil, nil
	}
	m := c.FSM()
	if m == nil {
		return nil, errors.New("cannot make the state machine: Config.FSM returned nil")
	}
	return fsm.New(fsm.Config{Machine: m, Clock: now, Logger: logger})
}

// reportState shows how far the state has come.
func reportState(st *machine.State) map[string]any {
	index, term := st.Applied()
	id := st.Identity()
	r := map[string]any{
		"revision": uint64(st.Revision()), "applied-index": index, "applied-term": term,
		"cluster": cmp.Or(id.ClusterID, "none yet"), "epoch": id.Epoch.Number,
	}
	if err := st.Halted(); err != nil {
		r["halted"] = err.Error()
	}
	return r
}
