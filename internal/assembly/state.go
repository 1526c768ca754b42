package assembly

import (
	"cmp"

	"github.com/juju/clock"
	"github.com/juju/worker/v3"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/datadir"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/member"
	"github.com/interrex/interrex/internal/unit"
	"github.com/interrex/interrex/internal/watch"
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

// NewState makes an empty state of the tables of interrex, for reading an agent's
// directory while the agent does not run; members is one of them.
func NewState(logger interrex.Logger) (st *machine.State, members *member.Table, err error) {
	own := newBuiltin()
	st, err = machine.New(machine.Config{Tables: own.all(), Logger: logger})
	return st, own.members, err
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
