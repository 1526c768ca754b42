package featuretests

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// program names a binary that was built elsewhere.
var program = flag.String("program", "", "run this interrex in the place of one that is built")

// binary builds interrex once, when the first test needs it.
var binary = sync.OnceValues(func() (string, error) {
	if *program != "" {
		return *program, nil
	}
	path := filepath.Join(scratch, "interrex")
	out, err := exec.Command("go", "build", "-o", path, "../cmd/interrex").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("cannot build interrex: %w\n%s", err, out)
	}
	return path, nil
})

// scratch is the directory that all tests share.
var scratch string

// seed is the seed of all random choices: INTERREX_SEED, or one of this run.
var seed uint64

// drawer returns a caller's source of random choices.
func drawer(caller int) *rand.Rand { return rand.New(rand.NewPCG(seed, uint64(caller))) }

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if scratch, err = os.MkdirTemp("", "featuretests-"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(scratch)
		if seed, err = strconv.ParseUint(os.Getenv("INTERREX_SEED"), 10, 64); err != nil {
			seed = rand.Uint64N(1 << 32)
		}
		withoutVariables()
		return m.Run()
	}())
}

// withoutVariables removes the tests' own variables from the environment: agents and
// commands refuse variables that they do not know.
func withoutVariables() {
	for _, line := range os.Environ() {
		if name, _, _ := strings.Cut(line, "="); strings.HasPrefix(name, "INTERREX_") {
			_ = os.Unsetenv(name) // a name that is set can be unset
		}
	}
}
