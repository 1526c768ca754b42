package datadir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/interrex/interrex/internal/disk"
)

// AsideName is the directory in a data directory with what an agent had before it
// joined its cluster again.
const AsideName = "before-join"

// SetAside moves identity, peers and raft's directory aside, so that the directory is
// that of a new agent. What was set aside before is removed. Cut short, it is completed
// by FinishSettingAside; until then no agent runs on the directory.
func SetAside(dataDir string) error {
	err := os.RemoveAll(filepath.Join(dataDir, AsideName))
	if err == nil {
		err = disk.MakePrivate(unfinishedAside(dataDir))
	}
	if err != nil {
		return fmt.Errorf("cannot set aside what is in %s: %w", dataDir, err)
	}
	return FinishSettingAside(dataDir)
}

func unfinishedAside(dataDir string) string {
	return filepath.Join(dataDir, AsideName+".unfinished")
}

// FinishSettingAside completes a SetAside that was cut short, if there was one.
func FinishSettingAside(dataDir string) error {
	to := unfinishedAside(dataDir)
	if _, err := os.Stat(to); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	// Raft's directory first: an identity without it is refused.
	for _, name := range []string{RaftDir, PeersName, identityName} {
		err := os.Rename(filepath.Join(dataDir, name), filepath.Join(to, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot set aside what is in %s: %w", dataDir, err)
		}
	}
	err := errors.Join(disk.OS{}.Sync(to), os.Rename(to, filepath.Join(dataDir, AsideName)), disk.OS{}.Sync(dataDir))
	if err != nil {
		return fmt.Errorf("cannot set aside what is in %s: %w", dataDir, err)
	}
	return nil
}
