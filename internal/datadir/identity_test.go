package datadir

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/raftdir"
)

func TestIdentityIsMadeOnceAndKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	made, err := OpenIdentity(dir, "a")
	if err != nil || made.ID != "a" || len(made.Incarnation) != 32 || made.ClusterID != "" {
		t.Fatalf("%+v %v", made, err)
	}
	kept, err := OpenIdentity(dir, "")
	if err != nil || !reflect.DeepEqual(kept, made) {
		t.Fatalf("%+v %v", kept, err)
	}
	_, err = OpenIdentity(dir, "b")
	if err == nil || !strings.Contains(err.Error(), "it belongs to agent a") {
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

func TestAnAgentWithoutItsRaftDirectoryDoesNotBeginAnew(t *testing.T) {
	dir := t.TempDir()
	id, err := OpenIdentity(dir, "a")
	if err != nil {
		t.Fatal(err)
	}
	id.ClusterID, id.Epoch, id.Incarnations = "c1", interrex.Epoch{Number: 3, Bits: 1<<63 + 1}, map[string]string{"a": "disk"}
	if err := SaveIdentity(dir, id); err != nil {
		t.Fatal(err)
	}
	raftDir := filepath.Join(dir, RaftDir)
	s, err := raftdir.Open(raftDir, raftdir.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if kept, err := OpenIdentity(dir, "a"); err != nil || !reflect.DeepEqual(kept, id) {
		t.Fatalf("%+v %v", kept, err)
	}
	if err := os.RemoveAll(raftDir); err != nil {
		t.Fatal(err)
	}
	for _, how := range []string{"missing", "empty"} {
		fresh, err := OpenIdentity(dir, "a")
		if !errors.Is(err, raftdir.ErrForgotten) || !strings.Contains(err.Error(), "was in the cluster c1") {
			t.Errorf("%s: %+v %v", how, fresh, err)
		}
		if _, err := Examine(dir); !errors.Is(err, raftdir.ErrForgotten) {
			t.Errorf("%s: looked at, it says %v", how, err)
		}
		if err := os.Mkdir(raftDir, 0o700); err != nil && how == "missing" {
			t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(dir, identityName)); err != nil {
		t.Fatal(err)
	}
	fresh, err := OpenIdentity(dir, "a")
	if err != nil || fresh.Incarnation == id.Incarnation || fresh.ClusterID != "" {
		t.Errorf("nothing is left: %+v %v", fresh, err)
	}
}

// What the start of an agent would refuse is refused before, with the same text.
func TestALookAtADirectorySaysWhatItsStartWouldSay(t *testing.T) {
	for what, spoil := range map[string]func(dir string) error{
		"nothing": func(string) error { return nil },
		"a newer version": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, RaftDir, "VERSION"), []byte("interrex raft directory, version 99\n"), 0o600)
		},
		"no stamp":       func(dir string) error { return os.Remove(filepath.Join(dir, RaftDir, "VERSION")) },
		"no vote":        func(dir string) error { return os.Remove(filepath.Join(dir, RaftDir, "vote")) },
		"a damaged vote": func(dir string) error { return os.Truncate(filepath.Join(dir, RaftDir, "vote"), 3) },
		"no floor":       func(dir string) error { return os.Remove(filepath.Join(dir, RaftDir, "floor")) },
		"a cut floor":    func(dir string) error { return os.Truncate(filepath.Join(dir, RaftDir, "floor"), 9) },
		"no raft":        func(dir string) error { return os.RemoveAll(filepath.Join(dir, RaftDir)) },
		"no identity":    func(dir string) error { return os.Remove(filepath.Join(dir, identityName)) },
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			open := func() (err error) {
				s, err := raftdir.Open(filepath.Join(dir, RaftDir), raftdir.Config{})
				if err == nil {
					err = s.Close()
				}
				return err
			}
			err := errors.Join(SaveIdentity(dir, Identity{ID: "a", Incarnation: "00", ClusterID: "c1"}), open(), spoil(dir))
			if err != nil {
				t.Fatal(err)
			}
			id, said := LookUpID(dir, "a")
			_, err = OpenIdentity(dir, "a")
			if err == nil {
				err = open()
			}
			if (err == nil) != (what == "nothing") || fmt.Sprint(said) != fmt.Sprint(err) {
				t.Errorf("it said %v, and the start says %v", said, err)
			}
			if err == nil && id != "a" {
				t.Errorf("the ID is %q", id)
			}
		})
	}
	if id, err := LookUpID(filepath.Join(t.TempDir(), "none"), "a"); id != "a" || err != nil {
		t.Errorf("of a directory that is not there: %q, %v", id, err)
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

func TestAnIdentityThatWasChangedIsRefused(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, identityName)
	id := Identity{ID: "a", Incarnation: "00", ClusterID: "c1", Epoch: interrex.Epoch{Number: 3, Bits: 1<<63 + 1}}
	if err := SaveIdentity(dir, id); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for bit := range 8 * len(whole) {
		changed := bytes.Clone(whole)
		changed[bit/8] ^= 1 << (bit % 8)
		if err := os.WriteFile(path, changed, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := OpenIdentity(dir, ""); err == nil || !strings.Contains(err.Error(), "is damaged") {
			t.Errorf("with bit %d of %q changed: %+v, %v", bit, whole, got, err)
		}
	}
}

func TestARaftDirectoryWithoutItsIdentityIsRefused(t *testing.T) {
	dir := t.TempDir()
	if _, err := OpenIdentity(dir, "a"); err != nil {
		t.Fatal(err)
	}
	s, err := raftdir.Open(filepath.Join(dir, RaftDir), raftdir.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, identityName)); err != nil {
		t.Fatal(err)
	}
	if id, err := OpenIdentity(dir, "a"); err == nil || !strings.Contains(err.Error(), "is missing") {
		t.Errorf("%+v, %v", id, err)
	}
}

func TestTheEpochOfAnotherClusterDoesNotCount(t *testing.T) {
	epoch := interrex.Epoch{Number: 1, Bits: 2}
	is := Identity{Joins: "a", Epoch: epoch}
	if is.Join("a"); is.Joins != "a" || is.Epoch != epoch {
		t.Errorf("of the same cluster: %+v", is)
	}
	if is.Join("b"); is.Joins != "b" || is.Epoch != (interrex.Epoch{}) {
		t.Errorf("of another one: %+v", is)
	}
}
