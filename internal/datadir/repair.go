package datadir

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex/internal/disk"
	"github.com/interrex/interrex/internal/founding"
	"github.com/interrex/interrex/internal/hclogger"
	"github.com/interrex/interrex/internal/peerlogs"
	"github.com/interrex/interrex/internal/raftdir"
)

// PeersName is the file in a data directory with what is remembered of other
// agents' logs.
const PeersName = "peers"

// Verdict is what must be done with a data directory.
type Verdict string

// The verdicts.
const (
	// Sound: nothing.
	Sound Verdict = "sound"
	// Damaged: damaged files are set aside, and nothing is missing without them.
	Damaged Verdict = "damaged"
	// Waits: entries are missing that the other members have.
	Waits Verdict = "waits for the other members"
	// Lost: entries are missing that no other agent has: a recovery continues
	// without them.
	Lost Verdict = "needs a recovery"
	// Later: a later build wrote it, and this one cannot read all of it.
	Later Verdict = "needs a later build"
	// Wiped: the vote or the floor is lost, and cannot be repaired.
	Wiped Verdict = "counts as wiped"
)

// Examination is the result of Examine.
type Examination struct {
	Identity
	raftdir.Found
	Alone bool // this agent is the only voter
	Verdict
	Later error // what this build cannot read; nil: nothing, or Read was not called
}

// Examine examines a data directory without changing it. The agent must not be
// running: the error is disk.ErrInUse when it is.
func Examine(dataDir string) (*Examination, error) {
	if _, err := os.Stat(dataDir); err != nil {
		return nil, fmt.Errorf("cannot examine data directory: %w", err)
	}
	id, err := readIdentity(filepath.Join(dataDir, identityName))
	if err != nil {
		return nil, err
	}
	fresh, err := raftdir.IsFresh(filepath.Join(dataDir, RaftDir))
	switch {
	case err != nil:
		return nil, err
	case id.ID == "" && fresh:
		return nil, fmt.Errorf("%s is not a data directory of interrex: it has no %s", dataDir, identityName)
	case id.ID == "":
		return nil, noIdentity(dataDir)
	case id.ClusterID != "" && fresh:
		return nil, noRaft(dataDir, id)
	}
	free, err := disk.Unused(dataDir)
	if err != nil {
		return nil, err
	}
	e := &Examination{Identity: id}
	return e, errors.Join(e.examine(dataDir), free())
}

func (e *Examination) examine(dataDir string) error {
	found, err := raftdir.Examine(filepath.Join(dataDir, RaftDir))
	if err != nil {
		return err
	}
	e.Found = *found
	e.Alone = founding.OnlyVoter(e.Members, raft.ServerID(e.ID)) || len(e.Members.Servers) == 0 && KnowsNobody(dataDir)
	switch {
	case e.Forgotten != nil:
		e.Verdict = Wiped
	case e.Short() && e.Alone:
		e.Verdict = Lost
	case e.Short():
		e.Verdict = Waits
	case len(e.Notes) > 0:
		e.Verdict = Damaged
	default:
		e.Verdict = Sound
	}
	return nil
}

// KnowsNobody reports whether this directory has no trace of another agent.
func KnowsNobody(dataDir string) bool {
	others, err := ReadPeers(dataDir)
	return err == nil && len(others) == 0
}

// ReadPeers returns what this directory remembers of other agents' logs, by ID.
func ReadPeers(dataDir string) (others map[string]peerlogs.Remembered, err error) {
	path := filepath.Join(dataDir, PeersName)
	b, err := disk.CheckedFile{Path: path}.Load()
	if err == nil && b != nil {
		err = json.Unmarshal(b, &others)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", path, err)
	}
	return others, nil
}

// Repair does what the verdict of Examine says: it sets damaged files aside, and
// recovers an agent that is the only voter and lacks entries that it has stored, in
// which case recovered is the result. It leaves stamp, vote and floor as they are.
func Repair(cfg RecoverConfig) (recovered *Recovery, err error) {
	e, err := Examine(cfg.DataDir)
	if err != nil {
		return nil, err
	}
	lock, err := disk.LockDir(cfg.DataDir, "interrex agent repair")
	if err != nil {
		return nil, err
	}
	recovered, err = e.repair(cfg)
	return recovered, errors.Join(err, lock.Unlock())
}

func (e *Examination) repair(cfg RecoverConfig) (*Recovery, error) {
	switch e.Verdict {
	case Wiped:
		return nil, fmt.Errorf("cannot repair %s: %w", cfg.DataDir, e.Forgotten)
	case Sound:
		return nil, nil
	case Lost:
		r, err := Recover(cfg)
		if err != nil {
			return nil, err
		}
		return &r, nil
	}
	dir, err := raftdir.Open(filepath.Join(cfg.DataDir, RaftDir), raftdir.Config{Logger: hclogger.New("raft", cfg.Logger), Clock: cfg.Clock})
	if err != nil {
		return nil, err
	}
	return nil, dir.Close()
}
