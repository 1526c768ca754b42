// Package benchmarks measures what a user gets: real processes, real disks,
// real sockets, and raw hashicorp/raft beside them by turns, so that what is
// quoted is a ratio of one run. It owns no code but its measurements;
// docs/performance.md holds what they said.
//
// A point is measured for a fixed time and not for so many iterations: only
// the named metrics mean something, and -benchtime changes nothing.
package benchmarks

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience bounds every wait for what should come soon.
const patience = 30 * time.Second

func TestMain(m *testing.M) {
	if os.Getenv(raftPeerEnv) != "" {
		if err := runRaftPeer(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "raft peer:", err)
			os.Exit(1)
		}
		return
	}
	code := m.Run()
	os.RemoveAll(binaryDir())
	os.Exit(code)
}

// binaryDir is where this process keeps the interrex that it has built.
func binaryDir() string {
	return filepath.Join(os.TempDir(), fmt.Sprintf("interrex-bench-%d", os.Getpid()))
}

// binaryEnv names the interrex to measure, by its absolute path: it is not built
// then. A test binary that is run often, by turns with another tree's, needs
// that.
const binaryEnv = "INTERREX_BENCH_BINARY"

// binary builds interrex, once, unless one is given.
var binary = sync.OnceValues(func() (string, error) {
	if path := os.Getenv(binaryEnv); path != "" {
		return path, nil
	}
	path := filepath.Join(binaryDir(), "interrex")
	out, err := exec.Command("go", "build", "-trimpath", "-o", path, "../cmd/interrex").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("cannot build interrex: %w\n%s", err, out)
	}
	return path, nil
})

// environ is this process's, without what is meant for benchmarks: interrex
// refuses variables that it does not know.
func environ() []string {
	return slices.DeleteFunc(os.Environ(), func(line string) bool { return strings.HasPrefix(line, "INTERREX_") })
}

// progress says on standard error what has just been measured.
func progress(b *testing.B, format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s %s: %s\n", time.Now().Format(time.TimeOnly), b.Name(), fmt.Sprintf(format, args...))
}

// shortDir is a directory whose path leaves room for sockets' names.
func shortDir(b *testing.B) string {
	b.Helper()
	dir, err := os.MkdirTemp("", "ib-")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
