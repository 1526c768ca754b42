package raftworker

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/interrex/interrex/state"
)

func TestADirectoryThatIsNotOursIsRefused(t *testing.T) {
	for name, c := range map[string]struct{ file, content, says string }{
		"of another program": {"raft.db", "bolt", "holds raft.db but no VERSION file, so it is not interrex's"},
		"of a newer version": {"VERSION", "interrex raft directory, version 2\n", "it is of version 2, and this interrex knows none above 1"},
		"of an older one":    {"VERSION", "interrex raft directory, version 0\n", "it is of version 0, and this interrex reads only 1"},
		"with a strange one": {"VERSION", "8.1", "its VERSION file is not interrex's"},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, c.file), []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := NewLogStore(dir, SyncAfterWrite, LogStoreConfig{})
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
		if left, _ := os.ReadDir(dir); len(left) != 1 {
			t.Errorf("%s: it was written into: %v", name, left)
		}
	}
}

func TestADirectoryHasOneUser(t *testing.T) {
	dir := t.TempDir()
	lock, err := LockDir(dir, "agent a")
	if err != nil {
		t.Fatal(err)
	}
	_, err = LockDir(dir, "agent b")
	if !errors.Is(err, ErrDirectoryInUse) || !strings.Contains(err.Error(), "by agent a, process ") {
		t.Fatal(err)
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	lock, err = LockDir(dir, "agent b")
	if err != nil {
		t.Fatal(err)
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
}

func TestIdentityIsMadeOnceAndKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	made, err := OpenIdentity(dir, "a")
	if err != nil || made.ID != "a" || len(made.Incarnation) != 32 || made.ClusterID != "" {
		t.Fatalf("%+v %v", made, err)
	}
	kept, err := OpenIdentity(dir, "")
	if err != nil || kept != made {
		t.Fatalf("%+v %v", kept, err)
	}
	_, err = OpenIdentity(dir, "b")
	if err == nil || !strings.Contains(err.Error(), "this directory belongs to agent a") {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, identityName))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v %v", info.Mode(), err)
	}
	if _, err := OpenIdentity(t.TempDir(), ""); err == nil {
		t.Fatal("an identity without an ID")
	}
}

func TestAnAgentWithAWipedRaftDirectoryIsAnotherIncarnation(t *testing.T) {
	dir := t.TempDir()
	id, err := OpenIdentity(dir, "a")
	if err != nil {
		t.Fatal(err)
	}
	id.ClusterID, id.Epoch = "c1", state.Epoch{Number: 3, Bits: 1<<63 + 1}
	if err := SaveIdentity(dir, id); err != nil {
		t.Fatal(err)
	}
	raftDir := filepath.Join(dir, RaftDir)
	s, err := NewLogStore(raftDir, SyncAfterWrite, LogStoreConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if kept, err := OpenIdentity(dir, "a"); err != nil || kept != id {
		t.Fatalf("%+v %v", kept, err)
	}
	if err := os.RemoveAll(raftDir); err != nil {
		t.Fatal(err)
	}
	fresh, err := OpenIdentity(dir, "a")
	if err != nil || fresh.Incarnation == id.Incarnation || fresh.ClusterID != "" {
		t.Fatalf("%+v %v", fresh, err)
	}
}

func TestADamagedIdentityIsRefused(t *testing.T) {
	for _, content := range []string{"", "{}", `{"id":"a"`, "\x00\x00"} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, identityName), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenIdentity(dir, "a"); err == nil || !strings.Contains(err.Error(), "is damaged") {
			t.Errorf("%q: %v", content, err)
		}
	}
}
