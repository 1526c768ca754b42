package assembly

import (
	"fmt"
	"slices"

	"github.com/juju/clock"
	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"

	"github.com/interrex/interrex/internal/custody"
	"github.com/interrex/interrex/internal/datadir"
	"github.com/interrex/interrex/internal/jointoken"
	"github.com/interrex/interrex/internal/member"
	"github.com/interrex/interrex/internal/peering"
	"github.com/interrex/interrex/internal/unit"
)

// keys returns the key of the cluster's CA, as this agent keeps it.
func (s *Set) keys(dir *datadir.Dir, table *member.Table, t *peering.Transport) custody.Keys {
	if dir == nil || t == nil {
		return custody.Keys{} // an input is missing
	}
	return custody.Keys{
		Dir: dir.Path, Table: table, Dial: t.DialAPI, Changed: t.Announce, Mutex: &s.caKeys, Logger: s.logger("ca"),
		Leader: func() string { return s.Leadership.Current().LeaderID },
	}
}

// startCustody keeps the CA's key on the voters, and nowhere else.
func (s *Set) startCustody(u *unit.Unit) (worker.Worker, error) {
	life, t := unit.Need[*raftLife](u, RaftName), unit.Need[*peering.Transport](u, TransportName)
	dir, table := unit.Need[*datadir.Dir](u, identityName), unit.Need[*member.Table](u, StateName)
	now := unit.Need[clock.Clock](u, ClockName)
	if u.Err != nil {
		return nil, u.Err
	}
	r, err := life.Raft()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, dependency.ErrMissing)
	}
	return custody.NewWorker(custody.Config{
		Keys: s.keys(dir, table, t), ID: dir.ID, Incarnation: dir.Incarnation, Raft: r, Clock: now,
		Lacking: func(id string, pin jointoken.Pin) bool {
			said, met := t.Peer(id)
			lately := now.Now().Sub(s.view().LastHeard(id, r)) <= peering.ProbeTime
			return met && lately && t.Contact(id).Err == nil && !slices.Contains(said.CAKeys, pin.String())
		},
	})
}
