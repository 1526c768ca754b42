package featuretests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// binary builds interrex once, when the first test needs it.
var binary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(scratch, "interrex")
	out, err := exec.Command("go", "build", "-o", path, "../cmd/interrex").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("cannot build interrex: %w\n%s", err, out)
	}
	return path, nil
})

// scratch is the directory of what all tests share.
var scratch string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if scratch, err = os.MkdirTemp("", "featuretests-"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(scratch)
		return m.Run()
	}())
}
