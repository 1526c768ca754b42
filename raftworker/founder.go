package raftworker

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"time"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex/state"
)

// founder makes a cluster out of agents: it writes the first members into an
// empty log, and lets the first leader's first entry say which cluster it is.
type founder struct {
	cfg      Config
	l        *life
	asked    chan error // the answer to the bootstrap under way; nil: none is
	term     uint64     // in which the identity was proposed last, and
	proposed time.Time  // when
}

func newFounder(cfg Config, l *life) *founder { return &founder{cfg: cfg, l: l} }

// open reports whether the log is still empty and this agent may be one of the
// first members.
func (f *founder) open() bool {
	return f.cfg.Bootstrap != nil && len(f.l.raft.GetConfiguration().Configuration().Servers) == 0
}

// step does the next thing that is to be done, and waits for nothing but the
// entry of a proposal into raft.
func (f *founder) step() {
	f.collect()
	if f.open() && f.asked == nil {
		f.bootstrap()
	}
	if f.l.raft.State() == raft.Leader && f.cfg.State.Identity().ClusterID == "" {
		f.propose()
	}
}

func (f *founder) collect() {
	select {
	case err := <-f.asked:
		f.asked = nil
		if err != nil && !errors.Is(err, raft.ErrCantBootstrap) {
			f.cfg.Logger.Warningf("bootstrapping raft cluster: %v", err)
		}
	default:
	}
}

func (f *founder) bootstrap() {
	ids, decided := f.cfg.decide(false)
	if !decided {
		return
	}
	f.cfg.Logger.Infof("bootstrapping a cluster of %v", ids)
	answer := make(chan error, 1)
	f.asked = answer
	go func() { answer <- f.l.raft.BootstrapCluster(Members(ids...)).Error() }()
}

// propose puts the identity in front of everything else that this leader may
// write, and again when the state has none after a while: a second one changes
// nothing. It does not wait until predecessors' entries are applied: a cluster
// that has an identity keeps it, whatever comes. Nor does it wait for the
// answer: raft answers none that is applied while it stops
// (hashicorp/raft#145), and the state says what became of it.
func (f *founder) propose() {
	term, now := f.l.raft.CurrentTerm(), f.cfg.Clock.Now()
	if f.term == term && now.Sub(f.proposed) < proposeAgain {
		return
	}
	f.term, f.proposed = term, now
	f.l.raft.Apply(f.identityEntry(), ApplyTimeout)
}

// proposeAgain is after how long without an identity one is proposed anew.
const proposeAgain = 5 * time.Second

func (f *founder) identityEntry() []byte {
	id := state.Identity{ClusterID: randomHex(16), Incarnations: map[string]string{}}
	id.Epoch.Bits = binary.LittleEndian.Uint64(random(8))
	known := f.cfg.Incarnations()
	for _, s := range f.l.raft.GetConfiguration().Configuration().Servers {
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

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails: it ends the process instead
	return b
}

func randomHex(n int) string { return hex.EncodeToString(random(n)) }
