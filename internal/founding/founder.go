// Package founding owns the start of a new cluster: it writes the first members to
// an empty log, and has the first leader propose the cluster's identity.
package founding

import (
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/hashicorp/raft"
	"github.com/juju/clock"

	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/state"
)

// Logger is the part of a loggo.Logger that is used.
type Logger interface {
	Infof(format string, args ...any)
	Warningf(format string, args ...any)
	Errorf(format string, args ...any)
}

// State is the part of the replicated state that is used.
type State interface {
	Now() state.Time
	ClusterID() string // empty: it belongs to none yet
}

// Config is the configuration of a Founder.
type Config struct {
	LocalID raft.ServerID
	State   State
	Clock   clock.Clock
	Logger  Logger
	// ApplyTimeout is how long the identity's entry may wait to enter raft.
	ApplyTimeout time.Duration
	// Bootstrap returns the IDs of the first members, and false while they are
	// undecided. nil: this agent waits until a cluster adds it.
	Bootstrap func() (ids []string, decided bool, err error)
	// Incarnations returns the incarnations of the known agents, by ID.
	Incarnations func() map[string]string
	// Charter returns what the first entry holds besides the cluster's identity.
	// Optional.
	Charter func() []state.Operation
}

// Decide returns the first members, for an agent that has an empty log; false: they
// are undecided.
func (c Config) Decide() (ids []string, decided bool) {
	if c.Bootstrap == nil {
		return nil, false
	}
	ids, decided, err := c.Bootstrap()
	switch {
	case err != nil:
		c.Logger.Warningf("cannot bootstrap: %v", err)
		return nil, false
	case decided && !slices.Contains(ids, string(c.LocalID)):
		c.Logger.Errorf("cannot bootstrap: the first members %v do not include this agent, %s", ids, c.LocalID)
		return nil, false
	}
	return ids, decided
}

// Founder starts a new cluster: it writes the first members to an empty log, and
// proposes the cluster's identity as the first leader's first entry.
type Founder struct {
	cfg           Config
	raft          *raft.Raft
	bootstrapping chan error // the result of a bootstrap in progress; nil: there is none
	term          uint64     // in which the identity was last proposed, and
	proposed      time.Time  // when
}

// New returns a founder for a running raft.
func New(cfg Config, r *raft.Raft) *Founder { return &Founder{cfg: cfg, raft: r} }

// Open reports whether the log is still empty and this agent may be one of the
// first members.
func (f *Founder) Open() bool {
	return f.cfg.Bootstrap != nil && len(f.raft.GetConfiguration().Configuration().Servers) == 0
}

// Step takes the next step. It waits only for raft to accept a proposal.
func (f *Founder) Step() {
	f.collect()
	if f.Open() && f.bootstrapping == nil {
		f.bootstrap()
	}
	if f.raft.State() == raft.Leader && f.cfg.State.ClusterID() == "" {
		f.propose()
	}
}

func (f *Founder) collect() {
	select {
	case err := <-f.bootstrapping:
		f.bootstrapping = nil
		if err != nil && !errors.Is(err, raft.ErrCantBootstrap) {
			f.cfg.Logger.Warningf("bootstrapping raft cluster: %v", err)
		}
	default:
	}
}

func (f *Founder) bootstrap() {
	ids, decided := f.cfg.Decide()
	if !decided {
		return
	}
	f.cfg.Logger.Infof("bootstrapping a cluster of %v", ids)
	answer := make(chan error, 1)
	f.bootstrapping = answer
	go func() { answer <- f.raft.BootstrapCluster(Members(ids...)).Error() }()
}

// propose proposes the identity before anything else that this leader writes, and
// again if the state has none after a while: a second one changes nothing. It need
// not wait until its predecessors' entries are applied, because a cluster keeps the
// identity that it has. It does not wait for the result: raft may not return one
// while it stops (hashicorp/raft#145), and the state has the identity or not.
func (f *Founder) propose() {
	term, now := f.raft.CurrentTerm(), f.cfg.Clock.Now()
	if f.term == term && now.Sub(f.proposed) < proposeAgain {
		return
	}
	f.term, f.proposed = term, now
	f.raft.Apply(f.identityEntry(), f.cfg.ApplyTimeout)
}

// proposeAgain is the time without an identity after which one is proposed again.
const proposeAgain = 5 * time.Second

func (f *Founder) identityEntry() []byte {
	id := machine.Identity{ClusterID: RandomHex(16), Incarnations: map[string]string{}}
	id.Epoch.Bits = binary.LittleEndian.Uint64(Random(8))
	known := f.cfg.Incarnations()
	for _, s := range f.raft.GetConfiguration().Configuration().Servers {
		if incarnation, ok := known[string(s.ID)]; ok {
			id.Incarnations[string(s.ID)] = incarnation
		}
	}
	operations := []state.Operation{{Table: machine.SystemTable, Data: (&machine.SetIdentity{Identity: id}).Append(nil)}}
	if f.cfg.Charter != nil {
		operations = append(operations, f.cfg.Charter()...)
	}
	return (&machine.Entry{
		// The present stamp: a cluster's clock starts with its first leader's first
		// tick.
		Stamp:      f.cfg.State.Now(),
		Wall:       f.cfg.Clock.Now().UTC(),
		Operations: operations,
	}).Append(nil)
}
