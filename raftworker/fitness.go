package raftworker

import (
	"fmt"
	"path/filepath"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex/internal/wording"
	"github.com/interrex/interrex/raftdir"
)

// Quarantine says why this agent, whose log ends before what it has stored, is
// of no use to readers and must not lead; nil: it may.
func (w *Worker) Quarantine() error {
	if w.endError() != nil {
		return nil
	}
	return w.life.rules.quarantined()
}

// quarantined is why this life, or its log, is in quarantine. An agent that takes
// part in nothing is sent nothing: it waits for no entries.
func (r *rules) quarantined() error {
	if err := r.silent(); err != nil {
		return err
	}
	return quarantine(r.dir)
}

func quarantine(dir *raftdir.Directory) error {
	if !dir.Quarantined() {
		return nil
	}
	return fmt.Errorf("the log of this agent ends at %s, and it has stored entries up to %s: it serves no reads and does not lead until the other members have sent it what is missing", dir.End(), dir.Floor().Position)
}

// broken says why this agent must neither lead nor stay the leader; nil: it may.
func (r *rules) broken() error {
	if err := r.dir.Failure(); err != nil {
		return err
	}
	if err := r.quarantined(); err != nil {
		return err
	}
	return r.cfg.State.Halted()
}

// unfit says why this agent must not be elected; nil: it may be.
func (r *rules) unfit() error {
	if err := r.broken(); err != nil {
		return err
	}
	return r.cfg.Leaving()
}

// fitness is what others hear: why this agent must not lead, or had better not;
// "" for neither.
func (r *rules) fitness() string {
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

// onlyVoter refuses to run raft where its only voter must not lead: nothing would
// keep it from electing itself.
func (w *Worker) onlyVoter(l *life) error {
	broken := l.rules.broken()
	if broken == nil {
		return nil
	}
	members, err := l.members(w.cfg)
	if err != nil || !alone(members, l.config.LocalID) && !w.forgotAlone(l, members) {
		return err
	}
	if l.dir.Copied() && len(members.Servers) == 1 { // nobody can know more
		w.cfg.Logger.Warningf("the directory %s was copied or moved: if it is older than what this agent has done, leases that it has granted are forgotten", w.cfg.StorageDir)
		if err := l.dir.Trust(); err != nil {
			return err
		}
		if broken = l.rules.broken(); broken == nil {
			return nil
		}
	}
	if l.dir.Quarantined() {
		return fmt.Errorf("cannot start raft: this agent is the only voter, and nobody else has what it lacks: its log ends at %s, and it has stored entries up to %s: bring back the newest copy of its directory, or stop it and see what 'interrex agent repair' can do", l.dir.End(), l.dir.Floor().Position)
	}
	return fmt.Errorf("cannot start raft: this agent is the only voter: %w", broken)
}

// forgotAlone reports whether nothing is left of a log that nobody else has: its
// members cannot be proved, and no other agent was ever heard of.
func (w *Worker) forgotAlone(l *life, members raft.Configuration) bool {
	return len(members.Servers) == 0 && l.dir.Quarantined() && knowsNobody(filepath.Dir(w.cfg.StorageDir))
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
