package raftdir

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"golang.org/x/sys/unix"
)

// Found is what a directory can prove, as Look has found it.
type Found struct {
	Report
	// Version of the directory's files.
	Version int
	// Term and VoteTerm are raft's current term and that of its last vote, which
	// went to Candidate; "": to nobody.
	Term, VoteTerm uint64
	Candidate      string
	// Forgotten says that vote or floor is lost: the directory counts as wiped.
	Forgotten error
	// Members are raft's, as far as they can be proved; none: they cannot.
	Members raft.Configuration
	// Copied says that the directory is not where it was made.
	Copied bool
}

// Look says what a raft directory can prove, and changes nothing. Nobody else may
// use the directory meanwhile: the error is ErrDirectoryInUse. One that is not
// interrex's, or of another version, is refused as Open refuses it.
func Look(dir string) (*Found, error) {
	stamp, err := ReadFile(filepath.Join(dir, stampName))
	if err != nil {
		return nil, fmt.Errorf("cannot read the stamp of raft directory %s: %w", dir, err)
	}
	if stamp == nil {
		return nil, fmt.Errorf("cannot look at raft directory %s: there is no %s file, so it is not interrex's, or nothing was ever written to it", dir, stampName)
	}
	if err := checkStamp(dir, string(stamp)); err != nil {
		return nil, err
	}
	free, err := Unused(dir)
	if err != nil {
		return nil, err
	}
	f, err := look(dir)
	return f, errors.Join(err, free())
}

// Unused keeps a directory from being used until free is called, and changes
// nothing in it. The error is ErrDirectoryInUse when somebody has it.
func Unused(dir string) (free func() error, err error) {
	path := filepath.Join(dir, lockName)
	if err := mustBeRegular(path); err != nil {
		return nil, fmt.Errorf("cannot lock directory %s: %w", dir, err)
	}
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return func() error { return nil }, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot lock directory %s: %w", dir, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		user, _ := io.ReadAll(f)
		return nil, errors.Join(refused(dir, string(bytes.TrimSpace(user)), err), f.Close())
	}
	return f.Close, nil
}

func look(dir string) (*Found, error) {
	f := &Found{Version: stampVersion}
	var err error
	if f.Copied, err = isCopy(dir); err != nil {
		return nil, err
	}
	var v vote
	if v, f.Forgotten, err = lookAtVote(dir); err != nil {
		return nil, err
	}
	floor, lost, err := lookAtFloor(dir)
	if err != nil {
		return nil, err
	}
	f.Forgotten = cmp.Or(f.Forgotten, lost)
	newest, damaged, err := provenSnapshots(filepath.Join(dir, snapshotsName))
	if err != nil {
		return nil, err
	}
	c, err := checkLog(dir, positionOf(newest), floor)
	if err != nil {
		return nil, err
	}
	for _, name := range damaged {
		c.note("snapshot %s is damaged", name)
	}
	f.Report, f.Term, f.VoteTerm, f.Candidate = c.Report, v.currentTerm, v.voteTerm, string(v.candidate)
	if f.Forgotten == nil && v.currentTerm < max(c.End.Term, c.Floor.Term) {
		f.Forgotten = fmt.Errorf("%w: the vote is of term %d, and the log is of term %d", ErrForgotten, v.currentTerm, max(c.End.Term, c.Floor.Term))
	}
	if newest != nil {
		f.Members = newest.Configuration
	}
	return f, c.members(&f.Members)
}

// lookAtVote reads term and vote; lost: they do not prove themselves.
func lookAtVote(dir string) (v vote, lost, err error) {
	data, err := ReadFile(filepath.Join(dir, voteName))
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

// lookAtFloor reads the floor; lost: it does not prove itself.
func lookAtFloor(dir string) (value Floor, lost, err error) {
	path := filepath.Join(dir, floorName)
	if err := mustBeRegular(path); err != nil {
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
		return Floor{}, fmt.Errorf("%w: the file %s is damaged", ErrForgotten, floorName), nil
	} else if err != nil {
		return value, nil, fmt.Errorf("cannot read the floor: %w", err)
	}
	return o.get(), nil, nil
}

// members reads the newest configuration that the entries behind the snapshot
// hold, if they hold one.
func (c *check) members(members *raft.Configuration) error {
	for _, p := range c.pieces {
		if len(p.kept) == 0 {
			continue
		}
		b, err := os.ReadFile(filepath.Join(c.dir, p.name))
		if err != nil {
			return fmt.Errorf("cannot read log segment: %w", err)
		}
		for _, e := range p.kept {
			if e.index <= c.Snapshot.Index {
				continue
			}
			data, ok := unseal(e.index, b[e.at+frameHeader:e.at+frameHeader+e.length])
			if !ok {
				return fmt.Errorf("cannot read log entry %d: %w", e.index, ErrDamaged)
			}
			var log raft.Log
			if err := new(wal.BinaryCodec).Decode(data, &log); err != nil {
				return fmt.Errorf("cannot read log entry %d: %w", e.index, err)
			}
			if log.Type == raft.LogConfiguration {
				*members = raft.DecodeConfiguration(log.Data)
			}
		}
	}
	return nil
}

// stateName is the file of a snapshot's content (hashicorp/raft,
// file_snapshot.go).
const stateName = "state.bin"

// provenSnapshots returns the newest snapshot that proves itself, nil: there is
// none, and the names of those that do not.
func provenSnapshots(dir string) (newest *raft.SnapshotMeta, damaged []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, nil, fmt.Errorf("cannot list snapshots: %w", err)
	}
	for _, e := range entries {
		if !e.IsDir() || filepath.Ext(e.Name()) == unfinished {
			continue
		}
		meta := provenSnapshot(filepath.Join(dir, e.Name()))
		switch {
		case meta == nil:
			damaged = append(damaged, e.Name())
		case newest == nil || !positionOf(newest).Reaches(positionOf(meta)):
			newest = meta
		}
	}
	return newest, damaged, nil
}

// provenSnapshot reads what a snapshot is of; nil: it does not prove itself. One
// without a check is of a process that ended just then: its log is whole.
func provenSnapshot(dir string) *raft.SnapshotMeta {
	var meta struct {
		raft.SnapshotMeta
		CRC []byte
	}
	text, err := ReadFile(filepath.Join(dir, metaName))
	if err != nil || json.Unmarshal(text, &meta) != nil {
		return nil
	}
	if check, err := ReadFile(filepath.Join(dir, checkName)); err != nil || check != nil && !bytes.Equal(check, proofOf(text)) {
		return nil
	}
	state := filepath.Join(dir, stateName)
	if mustBeRegular(state) != nil {
		return nil
	}
	file, err := os.Open(state)
	if err != nil {
		return nil
	}
	defer file.Close()
	sum := crc64.New(crc64.MakeTable(crc64.ECMA))
	if _, err := io.Copy(sum, file); err != nil || !bytes.Equal(sum.Sum(nil), meta.CRC) {
		return nil
	}
	return &meta.SnapshotMeta
}

func positionOf(m *raft.SnapshotMeta) Position {
	if m == nil {
		return Position{}
	}
	return Position{Term: m.Term, Index: m.Index}
}
