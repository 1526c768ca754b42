package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/interrex/interrex"
)

func TestWorkRunsWhileThisProgramLeads(t *testing.T) {
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	var tokens []interrex.Token
	err := run(ctx, "", func(work context.Context, token interrex.Token) error {
		tokens = append(tokens, token)
		if len(tokens) == 2 {
			stop()
			<-work.Done()
		}
		return errors.New("again")
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("run ended with %v, want the end of its context", err)
	}
	if len(tokens) != 2 || tokens[1] <= tokens[0] {
		t.Errorf("the work ran under the tokens %v, want two that rise", tokens)
	}
}

// The cost of embedding an agent, in modules to trust and bytes to ship: the binary
// is built as it is shipped, without debug information.
const (
	maxModules = 40
	maxBinary  = 23 << 20
)

func TestEmbeddingStaysCheap(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "embed")
	command(t, "go", "build", "-ldflags=-s -w", "-o", binary, ".")
	info, err := os.Stat(binary)
	if err != nil {
		t.Fatal(err)
	}
	modules := 0
	for line := range strings.Lines(command(t, "go", "version", "-m", binary)) {
		if strings.HasPrefix(line, "\tdep\t") {
			modules++
		}
	}
	t.Logf("%d modules, %.1f MiB", modules, float64(info.Size())/(1<<20))
	if modules == 0 || modules > maxModules {
		t.Errorf("the program is built of %d modules, at most %d are allowed", modules, maxModules)
	}
	if info.Size() > maxBinary {
		t.Errorf("the program has %d bytes, at most %d are allowed", info.Size(), maxBinary)
	}
}

func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}
