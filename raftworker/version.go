package raftworker

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// The stamp in a raft directory. The version goes up when a store's files
// change so that an older interrex cannot read them.
const (
	stampName    = "VERSION"
	stampPrefix  = "interrex raft directory, version "
	stampVersion = 1
)

// claimDir makes a raft directory, or checks that the one that is there is
// ours and of a version that is known here, before any store opens a file in
// it: a store that meets a strange file can only say that it is damaged.
func claimDir(f files, dir string) error {
	if err := makePrivate(dir); err != nil {
		return fmt.Errorf("cannot make raft directory: %w", err)
	}
	stamp, err := readFile(filepath.Join(dir, stampName))
	if err != nil {
		return fmt.Errorf("cannot read the stamp of raft directory %s: %w", dir, err)
	}
	if stamp != nil {
		return checkStamp(dir, string(stamp))
	}
	if err := mustBeEmpty(dir); err != nil {
		return err
	}
	line := fmt.Sprintf("%s%d\n", stampPrefix, stampVersion)
	if err := replaceFile(f, filepath.Join(dir, stampName), []byte(line)); err != nil {
		return classify("stamp raft directory "+dir, err)
	}
	return nil
}

func checkStamp(dir, stamp string) error {
	number, ours := strings.CutPrefix(strings.TrimSpace(stamp), stampPrefix)
	version, err := strconv.Atoi(number)
	switch {
	case !ours || err != nil:
		return fmt.Errorf("cannot use raft directory %s: its %s file is not interrex's", dir, stampName)
	case version > stampVersion:
		return fmt.Errorf("cannot use raft directory %s: it is of version %d, and this interrex knows none above %d: run the interrex that wrote it, or a newer one", dir, version, stampVersion)
	case version < stampVersion:
		return fmt.Errorf("cannot use raft directory %s: it is of version %d, and this interrex reads only %d", dir, version, stampVersion)
	}
	return nil
}

// mustBeEmpty refuses to adopt somebody else's files. What a crash between
// making the directory and stamping it leaves is no obstacle.
func mustBeEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("cannot read raft directory: %w", err)
	}
	for _, e := range entries {
		if !slices.Contains([]string{lockName, stampName + stagedSuffix}, e.Name()) {
			return fmt.Errorf("cannot use raft directory %s: it holds %s but no %s file, so it is not interrex's: move it away, or choose another data directory", dir, e.Name(), stampName)
		}
	}
	return nil
}
