package raftworker

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex/internal/raftlog"
	"github.com/interrex/interrex/raftdir"
	"github.com/interrex/interrex/transport"
)

// rules are those that one life of raft keeps towards other agents; its
// transport asks for them.
type rules struct {
	cfg  Config
	dir  *raftdir.Directory
	life string
	raft *atomic.Pointer[raft.Raft] // nil in it: raft does not run yet

	offers   offers
	coming   atomic.Pointer[raftlog.Position] // the leader's snapshot that raft has been given; nil: none
	conflict chan struct{}                    // of capacity 1: this life must end, so that the log can be cut
	cut      atomic.Pointer[raftlog.Position] // the snapshot that conflicts with the log; nil: none

	mu    sync.Mutex
	met   map[string]bool // the agents that this life has met, by ID
	older error           // this disk is an older copy
}

func newRules(cfg Config, dir *raftdir.Directory, running *atomic.Pointer[raft.Raft]) *rules {
	return &rules{
		cfg: cfg, dir: dir, life: rand.Text(), raft: running, met: map[string]bool{},
		offers: offers{clock: cfg.Clock, logger: cfg.Logger}, conflict: make(chan struct{}, 1),
	}
}

// Log implements transport.Life.
func (r *rules) Log() transport.LogState {
	end, floor := r.dir.End(), r.dir.Floor()
	return transport.LogState{
		Life: r.life, Term: r.dir.Term(), End: transport.Place(end), Floor: transport.Place(floor.Position), Since: floor.Since,
		Unfit: r.fitness(),
	}
}

// OpenTo implements transport.Life: raft is open to the members in its newest
// configuration, which has those that are being added. Their incarnations are
// the transport's owner's to check. A log without any configuration is that of
// an agent that waits for a leader to take it in, and cannot know which one that
// is: it is open to all that were let in.
func (r *rules) OpenTo(peer transport.Hello) error {
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
func (r *rules) Met(peer transport.Hello, told *transport.Remembered) error {
	if told != nil {
		r.checkTerm(peer.ID, told.Term)
		// Without the lock: this waits for the disk.
		if err := r.dir.Promise(raftlog.Position(told.Stored), told.In); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.met[peer.ID] = true
	return nil
}

// checkTerm finds out that this disk is an older one by the greatest term in
// which another agent has heard this one.
func (r *rules) checkTerm(peer string, heard uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if term := r.dir.Term(); heard > term && r.older == nil {
		r.older = fmt.Errorf("the disk of this agent is an older copy, and may have forgotten a vote: agent %s has heard it in term %d, and the disk knows only term %d: it takes part in nothing; bring back the newest copy of its directory, or its disk counts as lost", peer, heard, term)
		r.cfg.Logger.Errorf("%v", r.older)
	}
}

// silent says why this agent takes part in nothing; nil: it does.
func (r *rules) silent() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.older != nil {
		return r.older
	}
	if !r.dir.Copied() {
		return nil
	}
	var missing []string
	if running := r.raft.Load(); running != nil {
		missing = r.unmet(running.GetConfiguration().Configuration())
	}
	text := "the directory of this agent was copied or moved, and may be older than what it has promised: it takes part in nothing until it has met every other member"
	if len(missing) > 0 {
		text += "; still missing: " + strings.Join(missing, ", ")
	}
	return errors.New(text)
}

// unmet are the other members that this life has not met.
func (r *rules) unmet(members raft.Configuration) (ids []string) {
	for _, s := range members.Servers {
		if id := string(s.ID); s.ID != r.cfg.LocalID && !r.met[id] {
			ids = append(ids, id)
		}
	}
	return ids
}

// settle ends the silence of a copied directory once every member was met, and
// nobody knows of more than it has.
func (r *rules) settle(members raft.Configuration) error {
	if !r.knowsAll(members) {
		return nil
	}
	// Without the lock: this waits for the disk.
	if err := r.dir.Trust(); err != nil {
		return err
	}
	r.cfg.Logger.Infof("the directory %s was copied or moved; every other member was met, and it takes part again", r.cfg.StorageDir)
	return nil
}

func (r *rules) knowsAll(members raft.Configuration) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dir.Copied() && r.older == nil && len(members.Servers) > 0 && len(r.unmet(members)) == 0
}

// MaySend implements transport.Life: nothing leaves an agent whose disk has
// failed or is an older one, one that must not lead asks for no votes, and what
// only stands for an entry is not sent as one.
func (r *rules) MaySend(request any) error {
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

// cutOff says why nothing of raft's passes between this agent and others.
func (r *rules) cutOff() error {
	return errors.Join(r.dir.Failure(), r.silent())
}

// Answer implements transport.Life.
func (r *rules) Answer(request any) (response any, err error, answered bool) {
	if err := r.cutOff(); err != nil {
		return nil, err, true
	}
	switch request := request.(type) {
	case *raft.AppendEntriesRequest:
		return r.answerAppend(request)
	case *raft.InstallSnapshotRequest:
		return r.answerSnapshot(request)
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
func (r *rules) Handing(request any) (answered func()) {
	switch request := request.(type) {
	case *raft.AppendEntriesRequest:
		return r.handAppend(request)
	case *raft.InstallSnapshotRequest:
		return r.handSnapshot(request)
	}
	return nil
}

// behindFloor reports whether a candidate's log lacks what this agent in
// quarantine has stored: undamaged it would have refused its vote.
func (r *rules) behindFloor(term, index uint64) bool {
	return r.dir.Quarantined() && !raftlog.Position{Term: term, Index: index}.Reaches(r.dir.Floor().Position)
}

func (r *rules) header() raft.RPCHeader {
	id := slices.Clone([]byte(r.cfg.LocalID))
	return raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: id, Addr: id}
}
