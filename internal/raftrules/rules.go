// Package raftrules owns what one life of raft may say to other agents and hear
// from them: whether this agent may lead, what its disk lets it promise, and which
// entries and snapshots of a leader reach raft.
package raftrules

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/hashicorp/raft"
	"github.com/juju/clock"

	"github.com/interrex/interrex/internal/raftdir"
	"github.com/interrex/interrex/internal/raftlog"
	"github.com/interrex/interrex/internal/wording"
	"github.com/interrex/interrex/transport"
)

// Logger is what is called of a loggo.Logger.
type Logger interface {
	Debugf(format string, args ...any)
	Infof(format string, args ...any)
	Warningf(format string, args ...any)
	Errorf(format string, args ...any)
}

// Config is what the rules go by.
type Config struct {
	LocalID    raft.ServerID
	StorageDir string // for people
	Logger     Logger
	Clock      clock.Clock
	// Halted returns why the state has halted, Leaving why this agent must not be
	// elected, and Reluctant why another member had better lead; nil: nothing. They
	// must not block.
	Halted, Leaving, Reluctant func() error
}

// ErrConflict is why a life must end whose log has another entry than the leader's
// snapshot.
var ErrConflict = errors.New("the log has another entry than the leader's snapshot")

// local is what the rules know of this agent.
type local struct {
	cfg  Config
	dir  *raftdir.Directory
	raft *atomic.Pointer[raft.Raft] // nil in it: raft does not run yet
}

// header is that of raft's answers.
func (l *local) header() raft.RPCHeader {
	id := slices.Clone([]byte(l.cfg.LocalID))
	return raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: id, Addr: id}
}

// Rules are those that one life of raft keeps towards other agents; its transport
// asks for them.
type Rules struct {
	*local
	life     string
	copies   copies
	appends  appends
	installs installs
}

var _ transport.Life = (*Rules)(nil)

// New returns the rules of a life that begins; running is its raft, once it runs.
func New(cfg Config, dir *raftdir.Directory, running *atomic.Pointer[raft.Raft]) *Rules {
	l := &local{cfg: cfg, dir: dir, raft: running}
	return &Rules{
		local: l, life: rand.Text(), copies: copies{local: l, met: map[string]bool{}}, appends: appends{l},
		installs: installs{local: l, offers: offers{clock: cfg.Clock, logger: cfg.Logger}, conflict: make(chan struct{}, 1)},
	}
}

// Log implements transport.Life.
func (r *Rules) Log() transport.LogState {
	end, floor := r.dir.End(), r.dir.Floor()
	return transport.LogState{
		Life: r.life, Term: r.dir.Term(), End: transport.Place(end), Floor: transport.Place(floor.Position), Since: floor.Since,
		Unfit: r.Fitness(),
	}
}

// OpenTo implements transport.Life: raft is open to the members in its newest
// configuration, which has those that are being added. Their incarnations are
// the transport's owner's to check. A log without any configuration is that of
// an agent that waits for a leader to take it in, and cannot know which one that
// is: it is open to all that were let in.
func (r *Rules) OpenTo(peer transport.Hello) error {
	running := r.raft.Load()
	if running == nil {
		return fmt.Errorf("raft is starting on %s %w", r.cfg.LocalID, transport.ErrNotNow)
	}
	var ids []string
	for _, s := range running.GetConfiguration().Configuration().Servers {
		if string(s.ID) == peer.ID {
			return nil
		}
		ids = append(ids, string(s.ID))
	}
	if len(ids) == 0 {
		return nil
	}
	return fmt.Errorf("raft on %s is open only to the members of its cluster (%s): agent %s is not one of them", r.cfg.LocalID, strings.Join(ids, ", "), peer.ID)
}

// Met implements transport.Life: what another agent has heard of this one, and
// this disk does not know, was on another disk, or on this one later.
func (r *Rules) Met(peer transport.Hello, told *transport.Remembered) error {
	if told != nil {
		r.copies.checkTerm(peer.ID, told.Term)
		// Without a lock: this waits for the disk.
		if err := r.dir.Promise(raftlog.Position(told.Stored), told.In); err != nil {
			return err
		}
	}
	r.copies.meet(peer.ID)
	return nil
}

// MaySend implements transport.Life: nothing leaves an agent whose disk has
// failed or is an older one, one that must not lead asks for no votes, and what
// only stands for an entry is not sent as one.
func (r *Rules) MaySend(request any) error {
	if err := r.cutOff(); err != nil {
		return err
	}
	switch request := request.(type) {
	case *raft.AppendEntriesRequest:
		if slices.ContainsFunc(request.Entries, raftdir.StandsIn) {
			return errors.New("an entry was removed from the log before it was sent")
		}
	case *raft.RequestVoteRequest, *raft.RequestPreVoteRequest:
		if err := r.unfit(); err != nil {
			return fmt.Errorf("this agent does not stand for election: %w", err)
		}
	}
	return nil
}

// cutOff returns why nothing of raft's passes between this agent and others.
func (r *Rules) cutOff() error {
	return errors.Join(r.dir.Failure(), r.copies.silent())
}

// Answer implements transport.Life.
func (r *Rules) Answer(request any) (response any, err error, answered bool) {
	if err := r.cutOff(); err != nil {
		return nil, err, true
	}
	switch request := request.(type) {
	case *raft.AppendEntriesRequest:
		return r.appends.answer(request)
	case *raft.InstallSnapshotRequest:
		return r.installs.answer(request)
	case *raft.RequestVoteRequest:
		if r.behindFloor(request.LastLogTerm, request.LastLogIndex) {
			return &raft.RequestVoteResponse{RPCHeader: r.header(), Term: r.dir.Term()}, nil, true
		}
	case *raft.RequestPreVoteRequest:
		if r.behindFloor(request.LastLogTerm, request.LastLogIndex) {
			return &raft.RequestPreVoteResponse{RPCHeader: r.header(), Term: r.dir.Term()}, nil, true
		}
	case *raft.TimeoutNowRequest:
		if err := r.unfit(); err != nil {
			return nil, fmt.Errorf("this agent does not stand for election: %w", err), true
		}
	}
	return nil, nil, false
}

// Handing implements transport.Life.
func (r *Rules) Handing(request any) (answered func()) {
	switch request := request.(type) {
	case *raft.AppendEntriesRequest:
		return r.appends.hand(request)
	case *raft.InstallSnapshotRequest:
		return r.installs.hand(request)
	}
	return nil
}

// behindFloor reports whether a candidate's log lacks what this agent in
// quarantine has stored: undamaged it would have refused its vote.
func (r *Rules) behindFloor(term, index uint64) bool {
	return r.dir.Quarantined() && !raftlog.Position{Term: term, Index: index}.Reaches(r.dir.Floor().Position)
}

// Quarantined returns why this life, or its log, is in quarantine. An agent that
// takes part in nothing is sent nothing: it waits for no entries.
func (r *Rules) Quarantined() error {
	if err := r.copies.silent(); err != nil {
		return err
	}
	if !r.dir.Quarantined() {
		return nil
	}
	return fmt.Errorf("the log of this agent ends at %s, and it has stored entries up to %s: it serves no reads and does not lead until the other members have sent it what is missing", r.dir.End(), r.dir.Floor().Position)
}

// Broken returns why this agent must neither lead nor stay the leader; nil: it may.
func (r *Rules) Broken() error {
	if err := r.dir.Failure(); err != nil {
		return err
	}
	if err := r.Quarantined(); err != nil {
		return err
	}
	return r.cfg.Halted()
}

// unfit returns why this agent must not be elected; nil: it may be.
func (r *Rules) unfit() error {
	if err := r.Broken(); err != nil {
		return err
	}
	return r.cfg.Leaving()
}

// Fitness is what others hear: why this agent must not lead, or had better not;
// "" for neither.
func (r *Rules) Fitness() string {
	err := r.unfit()
	if err == nil {
		err = r.cfg.Reluctant()
	}
	if err == nil {
		return ""
	}
	return wording.Excerpt(err.Error(), maxFitness)
}

// maxFitness is how many bytes of a reason others hear.
const maxFitness = 300

// Settle ends the silence of a copied directory once every member was met, and
// nobody knows of more than it has.
func (r *Rules) Settle(members raft.Configuration) error { return r.copies.settle(members) }

// Stuck returns the index of a snapshot that arrives again and again; 0: none does.
func (r *Rules) Stuck() uint64 { return r.installs.offers.alarm() }

// Conflict receives when this life must end because of ErrConflict.
func (r *Rules) Conflict() <-chan struct{} { return r.installs.conflict }

// CutConflict cuts off what a leader's snapshot has shown not to be committed, once
// raft has ended.
func (r *Rules) CutConflict() error { return r.installs.cutConflict() }

// Snapshots are raft's snapshots, of which none is installed over a log that reaches
// it.
func (r *Rules) Snapshots(store raft.SnapshotStore) raft.SnapshotStore {
	return guarded{store, &r.installs}
}
