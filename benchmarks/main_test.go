// Package benchmarks measures what a user gets: real processes, disks and sockets,
// alternating with raw hashicorp/raft, so that the quoted figures are ratios within
// one run. It owns only measurements; docs/performance.md has their results.
//
// A point is measured for a fixed time and not for a number of iterations: only the
// named metrics are meaningful, and -benchtime has no effect.
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

// patience bounds every wait for what should happen soon.
const patience = 30 * time.Second

func TestMain(m *testing.M) {
	if os.Getenv(raftPeerEnv) != "" {
		if err := runRaftPeer(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "raft peer:", err)
			os.Exit(1)
		}
		return
	}
	if what := os.Getenv(attackEnv); what != "" {
		if err := runAttack(what); err != nil {
			fmt.Fprintln(os.Stderr, "attacker:", err)
			os.Exit(1)
		}
		return
	}
	code := m.Run()
	os.RemoveAll(binaryDir())
	os.Exit(code)
}

// binaryDir is the directory of the interrex that this process has built.
func binaryDir() string {
	return filepath.Join(os.TempDir(), fmt.Sprintf("interrex-bench-%d", os.Getpid()))
}

// binaryEnv is the absolute path of the interrex to measure, which is then not built.
// It is for a test binary that alternates with another tree's.
const binaryEnv = "INTERREX_BENCH_BINARY"

// binary builds interrex, once, unless one is given.
var binary = sync.OnceValues(func() (string, error) {
	if path := os.Getenv(binaryEnv); path != "" {
		return path, nil
	}
	path := filepath.Join(binaryDir(), "interrex")
	out, err := exec.Command("go", "build", "-o", path, "../cmd/interrex").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("cannot build interrex: %w\n%s", err, out)
	}
	return path, nil
})

// environ is this process's environment without the benchmarks' own variables:
// interrex refuses variables that it does not know.
func environ() []string {
	return slices.DeleteFunc(os.Environ(), func(line string) bool { return strings.HasPrefix(line, "INTERREX_") })
}

// progress prints on standard error what has just been measured.
func progress(b *testing.B, format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s %s: %s\n", time.Now().Format(time.TimeOnly), b.Name(), fmt.Sprintf(format, args...))
}

// shortDir returns a directory whose path is short enough for sockets.
func shortDir(b *testing.B) string {
	b.Helper()
	dir, err := os.MkdirTemp("", "ib-")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
