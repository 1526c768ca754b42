package raftworker

import (
	"errors"
	"fmt"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex/raftdir"
	"github.com/interrex/interrex/transport"
)

// Quarantine says why this agent, whose log ends before what it has stored, is
// of no use to readers and must not lead; nil: it may.
func (w *Worker) Quarantine() error {
	if w.endError() != nil {
		return nil
	}
	return quarantine(w.life.dir)
}

func quarantine(dir *raftdir.Directory) error {
	if !dir.Quarantined() {
		return nil
	}
	return fmt.Errorf("the log of this agent ends at %s, and it has stored entries up to %s: it serves no reads and does not lead until the other members have sent it what is missing", dir.End(), dir.Floor().Position)
}

// broken says why an agent must neither lead nor stay the leader; nil: it may.
func (w *Worker) broken(dir *raftdir.Directory) error {
	if err := dir.Failure(); err != nil {
		return err
	}
	return errors.Join(quarantine(dir), w.cfg.State.Halted())
}

// unfit says why this agent must not be elected; nil: it may be.
func (w *Worker) unfit(dir *raftdir.Directory) error {
	if err := w.broken(dir); err != nil {
		return err
	}
	return w.cfg.Leaving()
}

// fitness is what others hear: why this agent must not lead, or had better not;
// "" for neither.
func (w *Worker) fitness(dir *raftdir.Directory) string {
	err := w.unfit(dir)
	if err == nil {
		err = w.cfg.Reluctant()
	}
	if err == nil {
		return ""
	}
	return shortened(err.Error(), maxFitness)
}

// maxFitness is how many bytes of a reason others hear.
const maxFitness = 300

func shortened(text string, most int) string {
	if len(text) > most {
		return text[:most]
	}
	return text
}

// onlyVoter refuses to run raft where its only voter must not lead: nothing would
// keep it from electing itself.
func (w *Worker) onlyVoter(l *life) error {
	broken := w.broken(l.dir)
	if broken == nil {
		return nil
	}
	members, err := l.members(w.cfg)
	if err != nil || !alone(members, l.config.LocalID) {
		return err
	}
	return fmt.Errorf("cannot start raft: this agent is the only voter: %w", broken)
}

// members reads raft's members before it runs.
func (l *life) members(cfg Config) (raft.Configuration, error) {
	only := *l.config
	only.NoSnapshotRestoreOnStart = true
	_, nowhere := raft.NewInmemTransport(raft.ServerAddress(cfg.LocalID))
	members, err := raft.GetConfiguration(&only, cfg.State, l.dir, l.dir.Stable(), l.snapshots, nowhere)
	if err != nil {
		return members, fmt.Errorf("cannot read raft's members: %w", err)
	}
	return members, nil
}

// rules are what the transport of a life keeps.
type rules struct {
	worker *Worker
	dir    *raftdir.Directory
}

// Progress implements transport.Life.
func (r rules) Progress() (applied, term uint64) { return r.worker.progress() }

// Log implements transport.Life.
func (r rules) Log() transport.LogState {
	end, floor := r.dir.End(), r.dir.Floor()
	return transport.LogState{
		Term: r.dir.Term(), End: transport.Place(end), Floor: transport.Place(floor.Position), Since: floor.Since,
		Unfit: r.worker.fitness(r.dir),
	}
}

// MaySend implements transport.Life: nothing leaves an agent whose disk has
// failed, and one that must not lead asks for no votes.
func (r rules) MaySend(request any) error {
	switch request.(type) {
	case *raft.RequestVoteRequest, *raft.RequestPreVoteRequest:
		if err := r.worker.unfit(r.dir); err != nil {
			return fmt.Errorf("this agent does not stand for election: %w", err)
		}
	}
	return r.dir.Failure()
}

// Answer implements transport.Life.
func (r rules) Answer(request any) (response any, err error, answered bool) {
	if err := r.dir.Failure(); err != nil {
		return nil, err, true
	}
	switch request := request.(type) {
	case *raft.RequestVoteRequest:
		if r.behindFloor(request.LastLogTerm, request.LastLogIndex) {
			return &raft.RequestVoteResponse{RPCHeader: r.header(), Term: r.dir.Term()}, nil, true
		}
	case *raft.RequestPreVoteRequest:
		if r.behindFloor(request.LastLogTerm, request.LastLogIndex) {
			return &raft.RequestPreVoteResponse{RPCHeader: r.header(), Term: r.dir.Term()}, nil, true
		}
	case *raft.TimeoutNowRequest:
		if err := r.worker.unfit(r.dir); err != nil {
			return nil, fmt.Errorf("this agent does not stand for election: %w", err), true
		}
	}
	return nil, nil, false
}

// behindFloor reports whether a candidate's log lacks what this agent in
// quarantine has stored: undamaged it would have refused its vote.
func (r rules) behindFloor(term, index uint64) bool {
	return r.dir.Quarantined() && !raftdir.Position{Term: term, Index: index}.Reaches(r.dir.Floor().Position)
}

func (r rules) header() raft.RPCHeader {
	id := r.worker.cfg.LocalID
	return raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(id), Addr: []byte(id)}
}
