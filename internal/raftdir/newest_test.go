package raftdir

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex/internal/disk"
	"github.com/interrex/interrex/internal/raftlog"
)

// raft starts from the newest snapshot or not at all: the log need not reach back to an
// older one.
func TestOnlyTheNewestSnapshotIsRestored(t *testing.T) {
	d := openTerm(t, t.TempDir(), Config{NoSync: true})
	if list, err := d.Snapshots().List(); err != nil || len(list) != 0 {
		t.Errorf("of none %v are listed, %v", list, err)
	}
	must(t, d.StoreLogs(original(1, 60)))
	for _, at := range []uint64{20, 40} {
		takeSnapshot(t, d, at)
		if list, err := d.Snapshots().List(); err != nil || len(list) != 1 || list[0].Index != at {
			t.Errorf("behind that of %d there is %v, %v", at, list, err)
		}
	}
	must(t, d.Close())
}

// syncs counts the syncs of snapshots that are being written.
type syncs struct {
	disk.OS
	n int
}

func (s *syncs) Sync(path string) error {
	if filepath.Base(path) == raftlog.StateName && strings.HasSuffix(filepath.Dir(path), raftlog.Unfinished) {
		s.n++
	}
	return s.OS.Sync(path)
}

func TestALargeSnapshotIsSyncedWhileItIsWritten(t *testing.T) {
	dir, files := t.TempDir(), &syncs{}
	d := openTerm(t, dir, Config{})
	d.snapshots.files = files
	if n := d.SnapshotBytes(); n != 0 {
		t.Errorf("no snapshot has %d bytes", n)
	}
	must(t, d.StoreLogs(original(1, 60)))
	takeSnapshot(t, d, 20)
	if small := d.SnapshotBytes(); files.n != 0 || small == 0 {
		t.Errorf("a small one of %d bytes is synced %d times before its end", small, files.n)
	}
	_, nowhere := raft.NewInmemTransport("a")
	sink, err := d.Snapshots().Create(raft.SnapshotVersionMax, 40, 1, raft.Configuration{}, 1, nowhere)
	must(t, err)
	for i := 1; i <= 6; i++ {
		_, err := sink.Write(make([]byte, syncEvery/2))
		must(t, err)
		if files.n != i/2 {
			t.Errorf("%d bytes are synced %d times", i*syncEvery/2, files.n)
		}
	}
	must(t, sink.Close())
	if n := d.SnapshotBytes(); n != 3*syncEvery {
		t.Errorf("the newest has %d bytes", n)
	}
	must(t, d.Close())
	d = openTerm(t, dir, Config{})
	if n := d.SnapshotBytes(); n != 3*syncEvery {
		t.Errorf("opened again, the newest has %d bytes", n)
	}
	must(t, d.Close())
}
