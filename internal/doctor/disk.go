package doctor

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/interrex/interrex/internal/health"
	"github.com/interrex/interrex/internal/wording"
)

// What is written to measure fsync: an entry's worth, again and again, into a file
// whose space is there already, as that of raft's log is.
const (
	syncs     = 50
	blockSize = 4096
	syncTime  = 2 * time.Second  // after which no further fsync begins
	syncLimit = 10 * time.Second // after which the disk counts as hung
)

// Where a disk is slow: the alarm disk-slow counts writes above 500 ms.
const (
	slowMedian = 20 * time.Millisecond
	slowTail   = 100 * time.Millisecond
	slowMost   = 500 * time.Millisecond
)

// Where inodes run out.
const (
	leastFiles  = 16
	noticeFiles = 1000
)

// diskOf examines the data directory, or the directory in which it will be made.
func diskOf(dir string) []Finding {
	there := dir
	_, err := os.Stat(there)
	for errors.Is(err, fs.ErrNotExist) && filepath.Dir(there) != there {
		there = filepath.Dir(there)
		_, err = os.Stat(there)
	}
	sync := found("fsync", Warn, "run 'interrex agent init' or 'interrex agent join', then this again", "not measured: %s is not there yet", dir)
	if there == dir {
		sync = fsync(dir)
	}
	return append([]Finding{sync}, spaceAt(there)...)
}

// measured is what fsync has found.
type measured struct {
	took []time.Duration
	err  error
}

// fsync measures how long fsync takes in a directory.
func fsync(dir string) Finding {
	answer := make(chan measured, 1)
	go func() { // it outlives the limit on a hung disk, and ends with the process
		took, err := fsyncs(dir)
		answer <- measured{took, err}
	}()
	select {
	case m := <-answer:
		return judgeSyncs(dir, m)
	case <-time.After(syncLimit):
		return found("fsync", Fail, "check the system's log and the storage", "a write to %s has not returned for %s: the disk hangs", dir, wording.Duration(syncLimit))
	}
}

func fsyncs(dir string) (took []time.Duration, err error) {
	f, err := os.CreateTemp(dir, ".interrex-doctor-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	if _, err := f.Write(make([]byte, syncs*blockSize)); err != nil {
		return nil, err
	}
	if err := f.Sync(); err != nil {
		return nil, err
	}
	block := make([]byte, blockSize)
	for i, began := 0, time.Now(); i < syncs && time.Since(began) < syncTime; i++ {
		start := time.Now()
		if _, err := f.WriteAt(block, int64(i*blockSize)); err != nil {
			return took, err
		}
		if err := f.Sync(); err != nil {
			return took, err
		}
		took = append(took, time.Since(start))
	}
	return took, nil
}

func judgeSyncs(dir string, m measured) Finding {
	switch {
	case errors.Is(m.err, unix.ENOSPC), errors.Is(m.err, unix.EDQUOT):
		return found("fsync", Fail, "free space in its file system, or raise the quota", "nothing can be written to %s: %v", dir, m.err)
	case m.err != nil:
		return found("fsync", Fail, "run this as the agent's user; if that fails too, check the permissions, the mount and the system's log", "cannot write to %s: %v", dir, m.err)
	}
	slices.Sort(m.took)
	p50, p99 := m.took[len(m.took)/2], m.took[(len(m.took)-1)*99/100]
	text, args := "p50 %s, p99 %s of %d writes to %s: each entry of the log waits for one", []any{wording.Rounded(p50), wording.Rounded(p99), len(m.took), dir}
	const do = "put the data directory on a faster disk, or on one of its own"
	switch {
	case p99 > slowMost:
		return found("fsync", Fail, do, text+", and above 500 ms the agent raises disk-slow", args...)
	case p50 > slowMedian || p99 > slowTail:
		return found("fsync", Warn, do, text+"; a local SSD takes a few milliseconds", args...)
	}
	return ok("fsync", text, args...)
}

// spaceAt reports how much space and how many inodes are free.
func spaceAt(dir string) []Finding {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return []Finding{found("disk-space", Fail, "check agent.data-dir and its permissions", "cannot look at %s: %v", dir, err)}
	}
	return []Finding{judgeSpace(dir, s), judgeFiles(dir, s)}
}

func judgeSpace(dir string, s unix.Statfs_t) Finding {
	free, size := s.Bavail*uint64(s.Bsize), s.Blocks*uint64(s.Bsize)
	const do = "free space in the data directory's file system"
	switch {
	case health.AlmostFull(free, size):
		return found("disk-space", Fail, do, "%d MiB of %d are free at %s: an agent that leads writes nothing but extends and revokes of leases", free>>20, size>>20, dir)
	case health.Low(free, size):
		return found("disk-space", Warn, do, "%d MiB of %d are free at %s: the agent raises disk-low, and asks another member to lead", free>>20, size>>20, dir)
	}
	return ok("disk-space", "%d MiB of %d are free at %s", free>>20, size>>20, dir)
}

func judgeFiles(dir string, s unix.Statfs_t) Finding {
	const do = "delete files, or make a file system with more inodes"
	switch {
	case s.Files == 0:
		return ok("disk-inodes", "the file system of %s has no limit", dir)
	case s.Ffree < leastFiles:
		return found("disk-inodes", Fail, do, "%d of %d inodes are free at %s: the agent cannot make files", s.Ffree, s.Files, dir)
	case s.Ffree < noticeFiles:
		return found("disk-inodes", Warn, do, "%d of %d inodes are free at %s", s.Ffree, s.Files, dir)
	}
	return ok("disk-inodes", "%d of %d are free at %s", s.Ffree, s.Files, dir)
}
