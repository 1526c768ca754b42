// Package founding owns how a cluster begins: its first members, in an empty log,
// and the entry of its first leader that says which cluster it is.
package founding

import (
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/hashicorp/raft"
	"github.com/juju/clock"

	"github.com/interrex/interrex/state"
)

// Logger is what is called of a loggo.Logger.
type Logger interface {
	Infof(format string, args ...any)
	Warningf(format string, args ...any)
	Errorf(format string, args ...any)
}

// Config is what the founding of a cluster goes by.
type Config struct {
	LocalID raft.ServerID
	State   *state.State
	Clock   clock.Clock
	Logger  Logger
	// ApplyTimeout is how long the identity's entry may wait to enter raft.
	ApplyTimeout time.Duration
	// Bootstrap returns the IDs of the first members; false: not yet. nil: this
	// agent waits until others take it in.
	Bootstrap func() (ids []string, decided bool, err error)
	// Incarnations returns the incarnations of the agents that are known, by ID.
	Incarnations func() map[string]string
}

// Decide returns the first members, for an agent that has an empty log; false:
// they are not decided.
func (c Config) Decide() (ids []string, decided bool) {
	if c.Bootstrap == nil {
		return nil, false
	}
	ids, decided, err := c.Bootstrap()
	switch {
	case err != nil:
		c.Logger.Warningf("no bootstrap: %v", err)
		return nil, false
	case decided && !slices.Contains(ids, string(c.LocalID)):
		c.Logger.Errorf("no bootstrap: %v do not contain this agent, %s", ids, c.LocalID)
		return nil, false
	}
	return ids, decided
}

// Founder makes a cluster out of agents: it writes the first members into an
// empty log, and lets the first leader's first entry say which cluster it is.
type Founder struct {
	cfg      Config
	raft     *raft.Raft
	asked    chan error // the answer to the bootstrap under way; nil: none is
	term     uint64     // in which the identity was proposed last, and
	proposed time.Time  // when
}

// New returns a founder for a raft that runs.
func New(cfg Config, r *raft.Raft) *Founder { return &Founder{cfg: cfg, raft: r} }

// Open reports whether the log is still empty and this agent may be one of the
// first members.
func (f *Founder) Open() bool {
	return f.cfg.Bootstrap != nil && len(f.raft.GetConfiguration().Configuration().Servers) == 0
}

// Step does the next thing that is to be done, and waits for nothing but the
// entry of a proposal into raft.
func (f *Founder) Step() {
	f.collect()
	if f.Open() && f.asked == nil {
		f.bootstrap()
	}
	if f.raft.State() == raft.Leader && f.cfg.State.Identity().ClusterID == "" {
		f.propose()
	}
}

func (f *Founder) collect() {
	select {
	case err := <-f.asked:
		f.asked = nil
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
	f.asked = answer
	go func() { answer <- f.raft.BootstrapCluster(Members(ids...)).Error() }()
}

// propose puts the identity in front of everything else that this leader may
// write, and again when the state has none after a while: a second one changes
// nothing. It does not wait until predecessors' entries are applied: a cluster
// that has an identity keeps it, whatever comes. Nor does it wait for the
// answer: raft answers none that is applied while it stops
// (hashicorp/raft#145), and the state says what became of it.
func (f *Founder) propose() {
	term, now := f.raft.CurrentTerm(), f.cfg.Clock.Now()
	if f.term == term && now.Sub(f.proposed) < proposeAgain {
		return
	}
	f.term, f.proposed = term, now
	f.raft.Apply(f.identityEntry(), f.cfg.ApplyTimeout)
}

// proposeAgain is after how long without an identity one is proposed anew.
const proposeAgain = 5 * time.Second

func (f *Founder) identityEntry() []byte {
	id := state.Identity{ClusterID: RandomHex(16), Incarnations: map[string]string{}}
	id.Epoch.Bits = binary.LittleEndian.Uint64(Random(8))
	known := f.cfg.Incarnations()
	for _, s := range f.raft.GetConfiguration().Configuration().Servers {
		if incarnation, ok := known[string(s.ID)]; ok {
			id.Incarnations[string(s.ID)] = incarnation
		}
	}
	return state.AppendEntry(nil, &state.Entry{
		// The stamp that is there already: the clock of a cluster starts with
		// its first leader's first tick.
		Stamp:      f.cfg.State.Now(),
		Wall:       f.cfg.Clock.Now().UTC(),
		Operations: []state.Operation{{Table: state.SystemTable, Data: (&state.SetIdentity{Identity: id}).Append(nil)}},
	})
}
