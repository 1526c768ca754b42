package datadir

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/interrex/interrex/internal/disk"
)

// Rescued is the result of Rescue.
type Rescued struct {
	Recovery
	// Backup is the directory with the files from before; empty: an earlier recovery,
	// which was cut short, was completed.
	Backup string
}

// Rescue makes an agent whose cluster has lost its quorum a cluster of one: see
// Recover. It copies raft's directory, and the identity, to a backup beside them
// first, which it removes again if the recovery is not allowed.
func Rescue(cfg RecoverConfig) (*Rescued, error) {
	e, err := Examine(cfg.DataDir)
	if err != nil {
		return nil, err
	}
	if err := e.Refusal(); err != nil {
		return nil, fmt.Errorf("cannot recover %s: %w", cfg.DataDir, err)
	}
	lock, err := disk.LockDir(cfg.DataDir, "interrex recover")
	if err != nil {
		return nil, err
	}
	r, err := rescue(cfg, e)
	return r, errors.Join(err, lock.Unlock())
}

// Refusal returns why no cluster is recovered from this directory; nil: one can be.
func (e *Examination) Refusal() error {
	switch {
	case e.ClusterID == "":
		return fmt.Errorf("agent %s is in no cluster yet", e.ID)
	case e.Forgotten != nil:
		return e.Forgotten
	case e.Short() && len(e.DamagedSnapshots) > 0:
		return fmt.Errorf("the snapshot %s cannot be verified, and the log does not reach from an older snapshot to %s, which this agent has stored: recover another member, or restore a copy of this directory", filepath.Base(e.DamagedSnapshots[0]), e.Floor.Position)
	}
	return nil
}

func rescue(cfg RecoverConfig, e *Examination) (*Rescued, error) {
	backup := filepath.Join(cfg.DataDir, fmt.Sprintf("before-recovery-%s", cfg.Clock.Now().UTC().Format("20060102T150405.000Z")))
	if err := backUp(cfg.DataDir, backup); err != nil {
		return nil, err
	}
	allow, allowed := cfg.Allow, false
	cfg.Allow = func() (err error) {
		switch {
		case e.Alone && !e.Short():
			err = fmt.Errorf("agent %s is the only voter: start it", e.ID)
		case allow != nil:
			err = allow()
		}
		allowed = err == nil
		return err
	}
	r, err := Recover(cfg)
	is := &Rescued{Recovery: r, Backup: backup}
	if allowed {
		return is, err
	}
	is.Backup = ""
	if err = errors.Join(err, os.RemoveAll(backup)); err != nil {
		return nil, err
	}
	return is, nil
}

// backUp copies identity, peers and raft's directory to a new directory, which gets
// its name once everything is on the disk.
func backUp(dataDir, to string) error {
	unfinished := filepath.Join(dataDir, "before-recovery.unfinished")
	err := errors.Join(os.RemoveAll(unfinished), disk.MakePrivate(unfinished)) // of a copy that was cut short
	for _, name := range []string{identityName, PeersName, RaftDir} {
		if err == nil {
			err = copyTree(filepath.Join(dataDir, name), filepath.Join(unfinished, name))
		}
	}
	if err == nil {
		err = os.Rename(unfinished, to)
	}
	if err == nil {
		err = disk.OS{}.Sync(dataDir)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("cannot back up %s, and nothing is recovered without that: %w", dataDir, err), os.RemoveAll(unfinished))
	}
	return nil
}

// copyTree copies a file, or a directory of files, if it exists.
func copyTree(from, to string) error {
	from, err := filepath.EvalSymlinks(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		if entry.IsDir() {
			return disk.MakePrivate(target)
		}
		return copyFile(path, target)
	})
}

func copyFile(from, to string) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	return errors.Join(err, target.Sync(), target.Close())
}
