package backup

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/disk"
)

// CheckDirectory reports why no copies can be kept in a directory. dataDir is the agent's
// data directory; empty: it has none.
func CheckDirectory(dir, dataDir string) error {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s does not exist: make it, or mount what is to be there", dir)
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is not a directory: give one", dir)
	}
	if err := unix.Access(dir, unix.R_OK|unix.W_OK|unix.X_OK); err != nil {
		return fmt.Errorf("%s cannot be written to: %w: let the agent's user do so", dir, err)
	}
	if dataDir != "" && within(dir, dataDir) {
		return fmt.Errorf("%s is in the data directory %s, and would be lost with it: give another directory, on another disk", dir, dataDir)
	}
	return nil
}

// within reports whether dir is other, or below it, whatever links lead there.
func within(dir, other string) bool {
	outer, err := os.Stat(other)
	if err != nil {
		return false // it is not made yet
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return false
	}
	for {
		if info, err := os.Stat(dir); err == nil && os.SameFile(info, outer) {
			return true
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return false
		}
		dir = parent
	}
}

// copyName is what the name of a copy tells.
type copyName struct {
	at       time.Time // to the second
	cluster  string    // hexadecimal digits
	revision interrex.Revision
	agent    string
}

const (
	stampLayout = "20060102T150405Z"
	suffix      = ".snap"
)

var namePattern = regexp.MustCompile(`^interrex-(\d{8}T\d{6}Z)-([0-9a-f]+)-(\d+)-([a-z0-9-]+)\.snap$`)

// String returns the name of the file. Names sort by time.
func (n copyName) String() string {
	return fmt.Sprintf("interrex-%s-%s-%d-%s%s", n.at.UTC().Format(stampLayout), n.cluster, n.revision, n.agent, suffix)
}

// parseName reads the name of a file, and reports whether it is that of a copy.
func parseName(name string) (copyName, bool) {
	m := namePattern.FindStringSubmatch(name)
	if m == nil {
		return copyName{}, false
	}
	at, err := time.Parse(stampLayout, m[1])
	revision, err2 := strconv.ParseUint(m[3], 10, 64)
	n := copyName{at: at, cluster: m[2], revision: interrex.Revision(revision), agent: m[4]}
	return n, errors.Join(err, err2) == nil && n.String() == name
}

// stagedName is the file that becomes a copy of an agent once it was verified.
func stagedName(cluster, agent string) string {
	return "interrex-" + cluster + "-" + agent + suffix + disk.Staged
}

// own returns the copies that an agent has made of a cluster, the newest first. A
// revision tells which is newer, whatever the clock was set to meanwhile.
func own(dir, cluster, agent string) ([]copyName, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var all []copyName
	for _, e := range entries {
		if n, is := parseName(e.Name()); is && e.Type().IsRegular() && n.cluster == cluster && n.agent == agent {
			all = append(all, n)
		}
	}
	slices.SortFunc(all, func(a, b copyName) int {
		return cmp.Or(cmp.Compare(b.revision, a.revision), b.at.Compare(a.at))
	})
	return all, nil
}

// prune removes copies of an agent beyond keep, but never made, which is good.
func prune(dir string, made copyName, keep int) error {
	all, err := own(dir, made.cluster, made.agent)
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(n copyName) bool { return n == made })
	var failed []error
	for _, n := range all[min(keep-1, len(all)):] {
		failed = append(failed, os.Remove(filepath.Join(dir, n.String())))
	}
	return errors.Join(failed...)
}
