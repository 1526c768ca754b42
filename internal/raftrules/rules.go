// Package raftrules owns the rules by which one life of raft may exchange messages
// with other agents: whether this agent may lead, what its disk allows it to
// promise, and which entries and snapshots of a leader reach raft.
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

	"github.com/interrex/interrex/internal/peering"
	"github.com/interrex/interrex/internal/raftdir"
	"github.com/interrex/interrex/internal/raftlog"
	"github.com/interrex/interrex/internal/wording"
)

// Logger is the part of a loggo.Logger that is used.
type Logger interface {
	Debugf(format string, args ...any)
	Infof(format string, args ...any)
	Warningf(format string, args ...any)
	Errorf(format string, args ...any)
}

// Config is the configuration of Rules.
type Config struct {
	LocalID    raft.ServerID
	StorageDir string // for messages
	Logger     Logger
	Clock      clock.Clock
	// Halted returns why the state has halted, Leaving why this agent must not be
	// elected, and Reluctant why another member should lead; nil: there is no reason.
	// They must not block.
	Halted, Leaving, Reluctant func() error
	// Known returns why raft is closed to a member of its configuration because of that
	// one's disk, or why it must not be asked for its vote; nil: there is no reason. It
	// must not block. Optional.
	Known func(peer peering.Hello, vote bool) error
}

// ErrConflict ends a life whose log has an entry that differs from the leader's
// snapshot.
var ErrConflict = errors.New("the log has an entry that differs from the leader's snapshot")

// local is what the rules need of this agent.
type local struct {
	cfg  Config
	dir  *raftdir.Directory
	raft *atomic.Pointer[raft.Raft] // holds nil while raft is not running yet
}

// header returns the header of raft's answers.
func (l *local) header() raft.RPCHeader {
	id := slices.Clone([]byte(l.cfg.LocalID))
	return raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: id, Addr: id}
}

// Rules are the rules of one life of raft towards other agents; its transport
// applies them.
type Rules struct {
	*local
	life     string
	copies   copies
	appends  appends
	installs installs
}

var _ peering.Life = (*Rules)(nil)

// New returns the rules of a new life; running holds its raft, once that runs.
func New(cfg Config, dir *raftdir.Directory, running *atomic.Pointer[raft.Raft]) *Rules {
	l := &local{cfg: cfg, dir: dir, raft: running}
	return &Rules{
		local: l, life: rand.Text(), copies: copies{local: l, met: map[string]bool{}}, appends: appends{l},
		installs: installs{local: l, offers: offers{clock: cfg.Clock, logger: cfg.Logger}, conflict: make(chan struct{}, 1)},
	}
}

// Log implements peering.Life.
func (r *Rules) Log() peering.LogState {
	end, floor := r.dir.End(), r.dir.Floor()
	return peering.LogState{
		Life: r.life, Term: r.dir.Term(), End: peering.Place(end), Floor: peering.Place(floor.Position), Since: floor.Since,
		Unfit: r.Fitness(),
	}
}

// OpenTo implements peering.Life: raft is open to the members in its newest
// configuration, which includes those that are being added, on the disks that the
// cluster knows: one that comes back with an empty disk, while what it was has its vote
// still, would vote against what it had promised. An agent whose log has no
// configuration waits to be added by a leader that it cannot know: it is open to every
// accepted agent. One whose log is behind an accepted agent's may lack the entry that
// added that one, and hears it: it may lead, and be the only one to send that entry.
func (r *Rules) OpenTo(peer peering.Hello) error {
	running := r.raft.Load()
	if running == nil {
		return fmt.Errorf("raft is starting on %s %w", r.cfg.LocalID, peering.ErrNotNow)
	}
	var ids []string
	for _, s := range running.GetConfiguration().Configuration().Servers {
		if string(s.ID) == peer.ID {
			return r.known(peer, false)
		}
		ids = append(ids, string(s.ID))
	}
	if len(ids) == 0 {
		return nil
	}
	if !r.dir.End().Reaches(raftlog.Position(peer.Log.End)) {
		return r.known(peer, false)
	}
	return fmt.Errorf("raft on %s is open only to the members of its cluster (%s): agent %s is not one of them", r.cfg.LocalID, strings.Join(ids, ", "), peer.ID)
}

// MayAsk implements peering.Life.
func (r *Rules) MayAsk(peer peering.Hello) error { return r.known(peer, true) }

func (r *Rules) known(peer peering.Hello, vote bool) error {
	if r.cfg.Known == nil {
		return nil
	}
	return r.cfg.Known(peer, vote)
}

// Met implements peering.Life: what another agent remembers of this one, and this
// disk does not have, was on another disk, or on this one at a later time.
func (r *Rules) Met(peer peering.Hello, recalled *peering.Remembered) error {
	if recalled != nil {
		r.copies.checkTerm(peer.ID, recalled.Term)
		// Without a lock, because this waits for the disk.
		if err := r.dir.Promise(raftlog.Position(recalled.Stored), recalled.In); err != nil {
			return err
		}
	}
	r.copies.meet(peer.ID)
	return nil
}

// MaySend implements peering.Life: an agent whose disk has failed or is an older
// copy sends nothing, one that must not lead does not request votes, and a stand-in
// is not sent as an entry.
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
			return fmt.Errorf("cannot request votes: %w", err)
		}
	}
	return nil
}

// cutOff returns why raft's messages do not pass between this agent and others.
func (r *Rules) cutOff() error {
	return errors.Join(r.dir.Failure(), r.copies.silent())
}

// Answer implements peering.Life.
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
		if r.refusesVote(request.LastLogTerm, request.LastLogIndex) {
			return &raft.RequestVoteResponse{RPCHeader: r.header(), Term: r.dir.Term()}, nil, true
		}
	case *raft.RequestPreVoteRequest:
		if r.refusesVote(request.LastLogTerm, request.LastLogIndex) {
			return &raft.RequestPreVoteResponse{RPCHeader: r.header(), Term: r.dir.Term()}, nil, true
		}
	case *raft.TimeoutNowRequest:
		if err := r.unfit(); err != nil {
			return nil, fmt.Errorf("cannot request votes: %w", err), true
		}
	}
	return nil, nil, false
}

// Handing implements peering.Life.
func (r *Rules) Handing(request any) (answered func()) {
	switch request := request.(type) {
	case *raft.AppendEntriesRequest:
		return r.appends.hand(request)
	case *raft.InstallSnapshotRequest:
		return r.installs.hand(request)
	}
	return nil
}

// refusesVote reports whether a candidate gets no vote: its log lacks entries that this
// agent, in quarantine, has stored, and with them it would have refused; or what this
// agent has is being sent to it anew.
func (r *Rules) refusesVote(term, index uint64) bool {
	return r.dir.Condemned() != nil || r.dir.Quarantined() && !raftlog.Position{Term: term, Index: index}.Reaches(r.dir.Floor().Position)
}

// Quarantined returns why this life, or its log, is in quarantine. The reason of a
// silent agent has precedence: it is sent no entries for which it could wait.
func (r *Rules) Quarantined() error {
	if err := r.copies.silent(); err != nil {
		return err
	}
	if why := r.dir.Condemned(); why != nil {
		return fmt.Errorf("%w; it serves no reads, does not vote and does not lead until the leader has sent it everything anew", why)
	}
	if !r.dir.Quarantined() {
		return nil
	}
	return fmt.Errorf("the log of this agent ends at %s, and it has stored entries up to %s: it serves no reads and does not lead until the other members have sent it what is missing", r.dir.End(), r.dir.Floor().Position)
}

// Broken returns why this agent must neither become nor stay leader; nil: it may.
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

// Fitness returns what others are informed of: why this agent must not or should not
// lead; "": it may.
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

// maxFitness is how many bytes of the reason are sent.
const maxFitness = 300

// Settle ends the silence of a copied directory once every other member was met and
// none knows of more than it has.
func (r *Rules) Settle(members raft.Configuration) error { return r.copies.settle(members) }

// Stuck returns the index of a snapshot that arrives repeatedly; 0: there is none.
func (r *Rules) Stuck() uint64 { return r.installs.offers.alarm() }

// Conflict returns a channel that receives when this life must end because of
// ErrConflict.
func (r *Rules) Conflict() <-chan struct{} { return r.installs.conflict }

// CutConflict removes the entries that, by a leader's snapshot, are not committed.
// raft must have ended.
func (r *Rules) CutConflict() error { return r.installs.cutConflict() }

// Snapshots returns a store of raft's snapshots that does not install one over a log
// that reaches it.
func (r *Rules) Snapshots(store raft.SnapshotStore) raft.SnapshotStore {
	return guarded{store, &r.installs}
}
