package raftdir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/raft-wal/types"

	"github.com/interrex/interrex/internal/disk"
	"github.com/interrex/interrex/internal/raftlog"
)

// The stamp in a raft directory. The version is raised when a store's files change
// so that an older interrex cannot read them.
const (
	stampName    = "VERSION"
	stampPrefix  = "interrex raft directory, version "
	stampVersion = 2
)

// createOrCheck creates a raft directory, or checks that an existing one is ours
// and of a known version, before a store opens a file in it: a store would report a
// foreign file as damaged. It reports whether the directory has no stamp yet.
func createOrCheck(dir string) (unstamped bool, err error) {
	if err := disk.MakePrivate(dir); err != nil {
		return false, fmt.Errorf("cannot create raft directory: %w", err)
	}
	return isOurs(dir)
}

// isOurs does the checks of createOrCheck on an existing directory.
func isOurs(dir string) (unstamped bool, err error) {
	stamp, err := disk.ReadFile(filepath.Join(dir, stampName))
	switch {
	case err != nil:
		return false, fmt.Errorf("cannot read the stamp of raft directory %s: %w", dir, err)
	case stamp == nil:
		return true, mustBeEmpty(dir)
	}
	return false, checkStamp(dir, string(stamp))
}

// Usable returns why Open would refuse a directory, without reading its log and
// snapshots: it is not interrex's, is of another version, or has lost its vote or
// its floor. It changes nothing, and the directory may be in use.
func Usable(dir string) error {
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if fresh, err := isOurs(dir); err != nil || fresh {
		return err
	}
	if _, err := readVote(filepath.Join(dir, voteName)); err != nil {
		return err
	}
	f, err := openFloor(dir, true)
	if err != nil {
		return err
	}
	return f.close()
}

// initialise writes the files of an empty log, and the stamp last: from then on, a
// missing file is a lost one.
func initialise(f disk.Files, dir string) error {
	for _, file := range []struct {
		name    string
		content []byte
	}{
		{voteName, encodeVote(vote{})},
		{floorName, initialFloor()},
		{raftlog.SegmentsName, raftlog.EncodeSegments(types.PersistentState{})},
	} {
		if err := disk.Replace(f, filepath.Join(dir, file.name), file.content); err != nil {
			return disk.Classify("create raft directory "+dir, err)
		}
	}
	return writeStamp(f, dir)
}

// writeStamp replaces the stamp by one that identifies its own file. In a copy of
// the directory it identifies another file.
func writeStamp(f disk.Files, dir string) error {
	path := filepath.Join(dir, stampName)
	staged := path + disk.Staged
	if err := f.WriteSync(staged, nil); err != nil {
		return disk.Classify("stamp raft directory "+dir, err)
	}
	self, err := disk.FileOf(staged)
	if err != nil {
		return disk.Classify("stamp raft directory "+dir, err)
	}
	err = f.WriteSync(staged, fmt.Appendf(nil, "%s%d\n%s\n", stampPrefix, stampVersion, self))
	if err == nil {
		err = errors.Join(f.Rename(staged, path), f.Sync(dir))
	}
	return disk.Classify("stamp raft directory "+dir, err)
}

// isCopy reports whether a directory's stamp is not the file that it identifies.
func isCopy(dir string) (bool, error) {
	path := filepath.Join(dir, stampName)
	stamp, err := disk.ReadFile(path)
	if err != nil {
		return false, fmt.Errorf("cannot read the stamp of raft directory %s: %w", dir, err)
	}
	self, err := disk.FileOf(path)
	if err != nil {
		return false, fmt.Errorf("cannot examine the stamp of raft directory %s: %w", dir, err)
	}
	_, named, _ := strings.Cut(string(stamp), "\n")
	return strings.TrimSpace(named) != self, nil
}

// IsFresh reports whether a raft directory does not exist, or nothing was ever
// written to it.
func IsFresh(dir string) (bool, error) {
	stamp, err := disk.ReadFile(filepath.Join(dir, stampName))
	if err != nil {
		return false, fmt.Errorf("cannot read raft directory: %w", err)
	}
	if stamp != nil {
		return false, nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return false, fmt.Errorf("cannot read raft directory: %w", err)
	}
	return !slices.ContainsFunc(entries, func(e os.DirEntry) bool { return !isInitial(e.Name()) }), nil
}

// isInitial reports whether a crash between creating a directory and stamping it
// may leave a file of that name.
func isInitial(name string) bool {
	return slices.Contains([]string{disk.LockName, stampName, voteName, floorName, raftlog.SegmentsName}, strings.TrimSuffix(name, disk.Staged))
}

func checkStamp(dir, stamp string) error {
	first, _, _ := strings.Cut(stamp, "\n")
	number, ours := strings.CutPrefix(first, stampPrefix)
	version, err := strconv.Atoi(number)
	switch {
	case !ours || err != nil:
		return fmt.Errorf("cannot use raft directory %s: its %s file is not interrex's", dir, stampName)
	case version > stampVersion:
		return fmt.Errorf("cannot use raft directory %s: it is of version %d, and this interrex reads at most version %d: run the interrex that wrote it, or a newer one", dir, version, stampVersion)
	case version < stampVersion:
		return fmt.Errorf("cannot use raft directory %s: it is of version %d, and this interrex reads only version %d", dir, version, stampVersion)
	}
	return nil
}

// mustBeEmpty refuses a directory with files that are not ours. What a crash between
// creating and stamping it leaves is accepted.
func mustBeEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("cannot read raft directory: %w", err)
	}
	for _, e := range entries {
		if !isInitial(e.Name()) {
			return fmt.Errorf("cannot use raft directory %s: it holds %s but no %s file, so it is not interrex's: move it away, or choose another data directory", dir, e.Name(), stampName)
		}
	}
	return nil
}
