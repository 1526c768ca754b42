package assembly

import (
	"errors"

	"github.com/juju/clock"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/access"
	"github.com/interrex/interrex/internal/change"
	"github.com/interrex/interrex/internal/fsm"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/member"
	"github.com/interrex/interrex/internal/method"
	"github.com/interrex/interrex/internal/resource"
	"github.com/interrex/interrex/internal/services"
	"github.com/interrex/interrex/internal/webhook"
	"github.com/interrex/interrex/state"
)

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
