package raftdir

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex/internal/disk"
)

// contents are all files of a directory.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	must(t, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all[path] = string(b)
		return err
	}))
	return all
}

func TestLookChangesNothing(t *testing.T) {
	dir := filled(t, snapshotAt)
	segment := filepath.Join(dir, allFiles(t, dir)[1])
	must(t, os.Truncate(segment, 700))
	before := contents(t, dir)
	f, err := Examine(dir)
	must(t, err)
	if len(f.Notes) == 0 || f.Term != 2 || f.Version != stampVersion || f.Copied {
		t.Errorf("%+v", f)
	}
	if !reflect.DeepEqual(contents(t, dir), before) {
		t.Error("something was changed")
	}
}

func TestLookFindsTheMembers(t *testing.T) {
	members := func(ids ...raft.ServerID) (c raft.Configuration) {
		for _, id := range ids {
			c.Servers = append(c.Servers, raft.Server{ID: id, Address: raft.ServerAddress(id)})
		}
		return c
	}
	dir := t.TempDir()
	d := openTerm(t, dir, Config{SegmentSize: smallSegment, NoSync: true})
	for i, c := range []raft.Configuration{members("a"), members("a", "b")} {
		must(t, d.StoreLog(&raft.Log{Index: uint64(i + 1), Term: 1, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(c)}))
	}
	must(t, d.Close())
	if f, err := Examine(dir); err != nil || !reflect.DeepEqual(f.Members, members("a", "b")) {
		t.Errorf("of the log: %+v, %v", f, err)
	}
	d = openTerm(t, dir, Config{SegmentSize: smallSegment, NoSync: true})
	_, trans := raft.NewInmemTransport("a")
	sink, err := d.Snapshots().Create(raft.SnapshotVersionMax, 2, 1, members("c"), 2, trans)
	must(t, errors.Join(err, sink.Close()))
	must(t, d.Close())
	if f, err := Examine(dir); err != nil || !reflect.DeepEqual(f.Members, members("c")) {
		t.Errorf("of the snapshot: %+v, %v", f, err)
	}
}

func TestLookRefusesWhatItDoesNotKnow(t *testing.T) {
	used := filled(t, 0)
	d, err := Open(used, Config{NoSync: true})
	must(t, err)
	defer d.Close()
	if _, err := Examine(used); !errors.Is(err, disk.ErrInUse) {
		t.Errorf("one in use: %v", err)
	}
	for name, want := range map[string]string{"": "not interrex's", "somebody's": "not interrex's", "interrex raft directory, version 1\n": "version 1", "interrex raft directory, version 99\n": "version 99"} {
		dir := t.TempDir()
		if name != "" {
			must(t, os.WriteFile(filepath.Join(dir, stampName), []byte(name), 0o600))
		}
		if _, err := Examine(dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if _, err := Examine(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("one that is not there")
	}
}
