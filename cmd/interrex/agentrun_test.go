package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestTheConfigurationOfTheDefaultDirectoryIsFound(t *testing.T) {
	dir := t.TempDir()
	first, own := filepath.Join(dir, "first.yaml"), filepath.Join(dir, "own.yaml")
	looks := func(r running, want string) {
		t.Helper()
		if got := r.defaultPath(first, own); got != want {
			t.Errorf("it reads %s, not %s", got, want)
		}
	}
	looks(running{}, first) // and is content without it
	if err := os.WriteFile(own, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	looks(running{}, own)
	looks(running{dataDir: "elsewhere"}, first)
	t.Run("by the environment", func(t *testing.T) {
		t.Setenv("INTERREX_AGENT_DATA_DIR", "elsewhere")
		looks(running{}, first)
	})
	if err := os.WriteFile(first, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	looks(running{}, first)
}
