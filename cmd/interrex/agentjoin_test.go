package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/interrex/interrex/internal/jointoken"
)

func TestAJoinGivesUpAfterItsTimeout(t *testing.T) {
	dir := t.TempDir()
	token := filepath.Join(dir, "join.token")
	if err := os.WriteFile(token, []byte(jointoken.New(jointoken.Pin{}).String()), 0o600); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	said, err := program("agent", "join", "127.0.0.1:1", "--token-file", token, "--data-dir", filepath.Join(dir, "n2"), "--id", "n2", "--timeout", "1s").CombinedOutput()
	if took := time.Since(began); err == nil || !strings.Contains(string(said), "127.0.0.1:1: connect: connection refused") || took > joinTimeout/2 {
		t.Errorf("after %s: %v, and says:\n%s", took, err, said)
	}
}
