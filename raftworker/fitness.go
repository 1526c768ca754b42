package raftworker

import (
	"fmt"
	"path/filepath"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex/internal/datadir"
	"github.com/interrex/interrex/internal/founding"
)

// Quarantine returns why this agent must neither serve reads nor lead, because its
// log ends before entries that it has stored; nil: it may do both.
func (w *Worker) Quarantine() error {
	if w.endError() != nil {
		return nil
	}
	return w.life.rules.Quarantined()
}

// Condemn ends the use of this agent's log and snapshots, because the state that comes
// of them is wrong: from now on it serves no reads, does not vote and does not lead. Its
// next life begins without them, and has them sent by the leader; they are in kept.
func (w *Worker) Condemn(why string) (kept string, err error) {
	if err := w.endError(); err != nil {
		return "", err
	}
	return w.life.dir.Condemn(why)
}

// onlyVoter returns an error if this agent is the only voter and must not lead:
// raft would elect it.
func (l *life) onlyVoter() error {
	broken := l.rules.Broken()
	if broken == nil {
		return nil
	}
	members, err := l.members()
	if err != nil || !founding.OnlyVoter(members, l.config.LocalID) && !l.forgotAlone(members) {
		return err
	}
	if l.dir.Copied() && len(members.Servers) == 1 { // no other agent has more
		l.cfg.Logger.Warningf("the directory %s was copied or moved: if it is older than what this agent has done, leases that it has granted are forgotten", l.cfg.StorageDir)
		if err := l.dir.Trust(); err != nil {
			return err
		}
		if broken = l.rules.Broken(); broken == nil {
			return nil
		}
	}
	if l.dir.Quarantined() {
		return fmt.Errorf("cannot start raft: this agent is the only voter, and no other agent has the entries that it lacks: its log ends at %s, and it has stored entries up to %s: bring back the newest copy of its directory, or stop it and see what 'interrex agent repair' can do", l.dir.End(), l.dir.Floor().Position)
	}
	return fmt.Errorf("cannot start raft: this agent is the only voter: %w", broken)
}

// forgotAlone reports whether a log that only this agent had is lost: its members
// cannot be proved, and this agent has never known another.
func (l *life) forgotAlone(members raft.Configuration) bool {
	return len(members.Servers) == 0 && l.dir.Quarantined() && datadir.KnowsNobody(filepath.Dir(l.cfg.StorageDir))
}

// members reads raft's members before it runs.
func (l *life) members() (raft.Configuration, error) {
	only := *l.config
	only.NoSnapshotRestoreOnStart = true
	_, nowhere := raft.NewInmemTransport(raft.ServerAddress(l.cfg.LocalID))
	members, err := raft.GetConfiguration(&only, l.cfg.State, l.dir, l.dir.Stable(), l.snapshots, nowhere)
	if err != nil {
		return members, fmt.Errorf("cannot read raft's members: %w", err)
	}
	return members, nil
}
