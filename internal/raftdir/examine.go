package raftdir

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex/internal/disk"
	"github.com/interrex/interrex/internal/raftlog"
)

// Found is what Examine has found in a directory.
type Found struct {
	raftlog.Report
	// Version of the directory's files.
	Version int
	// Term and VoteTerm are raft's current term and the term of its last vote,
	// which was for Candidate; "": it has never voted.
	Term, VoteTerm uint64
	Candidate      string
	// Forgotten is set when the vote or the floor is lost: the directory counts as
	// wiped.
	Forgotten error
	// Members are raft's members; none if they cannot be proved.
	Members raft.Configuration
	// DamagedSnapshots are the names of snapshots that cannot be verified.
	DamagedSnapshots []string
	// Copied is whether the directory is not where it was created.
	Copied bool
}

// Examine examines a raft directory without changing it. The error is disk.ErrInUse
// when the directory is in use. One that is not interrex's, or of another version,
// is refused as by Open.
func Examine(dir string) (*Found, error) {
	stamp, err := disk.ReadFile(filepath.Join(dir, stampName))
	if err != nil {
		return nil, fmt.Errorf("cannot read the stamp of raft directory %s: %w", dir, err)
	}
	if stamp == nil {
		return nil, fmt.Errorf("cannot examine raft directory %s: it has no %s file, so it is not interrex's, or nothing was ever written to it", dir, stampName)
	}
	if err := checkStamp(dir, string(stamp)); err != nil {
		return nil, err
	}
	free, err := disk.Unused(dir)
	if err != nil {
		return nil, err
	}
	f, err := inspect(dir)
	return f, errors.Join(err, free())
}

func inspect(dir string) (*Found, error) {
	f := &Found{Version: stampVersion}
	if _, err := readRefill(dir); err != nil {
		return nil, err
	}
	var err error
	if f.Copied, err = isCopy(dir); err != nil {
		return nil, err
	}
	var v vote
	if v, f.Forgotten, err = examineVote(dir); err != nil {
		return nil, err
	}
	floor, lost, err := examineFloor(dir)
	if err != nil {
		return nil, err
	}
	f.Forgotten = cmp.Or(f.Forgotten, lost)
	newest, damaged, err := raftlog.ProvenSnapshots(filepath.Join(dir, snapshotsName))
	if err != nil {
		return nil, err
	}
	c, err := raftlog.Inspect(dir, raftlog.PositionOf(newest), floor)
	if err != nil {
		return nil, err
	}
	c.Damaged(damaged...)
	f.DamagedSnapshots = damaged
	f.Report, f.Term, f.VoteTerm, f.Candidate = c.Report, v.currentTerm, v.voteTerm, string(v.candidate)
	if f.Forgotten == nil && v.currentTerm < max(c.End.Term, c.Floor.Term) {
		f.Forgotten = fmt.Errorf("%w: the vote is of term %d, and the log is of term %d", ErrForgotten, v.currentTerm, max(c.End.Term, c.Floor.Term))
	}
	if newest != nil {
		f.Members = newest.Configuration
	}
	return f, c.Members(&f.Members)
}

// examineVote reads term and vote; lost: they are missing or damaged.
func examineVote(dir string) (v vote, lost, err error) {
	data, err := disk.ReadFile(filepath.Join(dir, voteName))
	if err != nil {
		return v, nil, fmt.Errorf("cannot read term and vote: %w", err)
	}
	if data == nil {
		return v, fmt.Errorf("%w: the file %s is missing", ErrForgotten, voteName), nil
	}
	if v, err = decodeVote(data); err != nil {
		return vote{}, fmt.Errorf("%w: the file %s is damaged: %w", ErrForgotten, voteName, err), nil
	}
	return v, nil, nil
}

// examineFloor reads the floor; lost: it is missing or damaged.
func examineFloor(dir string) (value raftlog.Floor, lost, err error) {
	path := filepath.Join(dir, floorName)
	if err := disk.MustBeRegular(path); err != nil {
		return value, nil, fmt.Errorf("cannot read the floor: %w", err)
	}
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return value, fmt.Errorf("%w: the file %s is missing", ErrForgotten, floorName), nil
	}
	if err != nil {
		return value, nil, fmt.Errorf("cannot read the floor: %w", err)
	}
	defer file.Close()
	o := &floor{file: file}
	if err := o.read(); errors.Is(err, ErrForgotten) {
		return raftlog.Floor{}, fmt.Errorf("%w: the file %s is damaged", ErrForgotten, floorName), nil
	} else if err != nil {
		return value, nil, fmt.Errorf("cannot read the floor: %w", err)
	}
	return o.get(), nil, nil
}
