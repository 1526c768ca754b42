package raftworker

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
)

// founder makes a cluster out of agents: it writes the first members into an
// empty log, and lets the first leader's first entry say which cluster it is.
type founder struct {
	cfg      Config
	l        *life
	asked    chan error // the answer to the bootstrap under way; nil: none is
	proposed uint64     // the term in which the identity was proposed
	result   chan error // of the proposal under way; nil: none is
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
	case err := <-f.result:
		f.result = nil
		if err != nil {
			f.proposed = 0 // once more, also in this term
			f.cfg.Logger.Warningf("the cluster's identity was not written: %v", err)
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
// write. It does not wait until predecessors' entries are applied: a cluster
// that has an identity keeps it, whatever comes.
func (f *founder) propose() {
	term := f.l.raft.CurrentTerm()
	if f.proposed == term || f.result != nil {
		return
	}
	f.proposed = term
	future := f.l.raft.Apply(f.identityEntry(), ApplyTimeout)
	answer := make(chan error, 1)
	f.result = answer
	go func() { answer <- outcome(future) }()
}

// outcome is nil also when the cluster turns out to have an identity.
func outcome(future raft.ApplyFuture) error {
	if err := future.Error(); err != nil {
		return err
	}
	results, ok := future.Response().([]state.Result)
	if !ok || len(results) != 1 {
		return fmt.Errorf("invalid FSM response: %v", future.Response())
	}
	if err := results[0].Err; err != nil && !errors.Is(err, interrex.ErrConflict) {
		return err
	}
	return nil
}

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
		Operations: []state.Operation{{Table: state.OwnTable, Data: state.AppendSetIdentity(nil, id)}},
	})
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails: it ends the process instead
	return b
}

func randomHex(n int) string { return hex.EncodeToString(random(n)) }
