package raftdir

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/types"

	"github.com/interrex/interrex/internal/disk"
	"github.com/interrex/interrex/internal/raftlog"
)

// oldest is the file of the log's oldest segment, which is sealed.
func oldest(t *testing.T, dir string) string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "*.wal"))
	must(t, err)
	if len(all) < 2 {
		t.Fatalf("the log has the segments %q", all)
	}
	return all[0]
}

func TestADirectoryThatIsRemovedUnderARunningAgentFailsTheDisk(t *testing.T) {
	replaced := func(t *testing.T, dir string) {
		must(t, os.Rename(dir, dir+".moved"))
		must(t, os.CopyFS(dir, os.DirFS(dir+".moved")))
	}
	for what, c := range map[string]struct {
		harm func(*testing.T, string)
		says string // empty: nothing is wrong
	}{
		"nothing":          {func(*testing.T, string) {}, ""},
		"the directory":    {func(t *testing.T, dir string) { must(t, os.RemoveAll(dir)) }, "it was removed or replaced while the agent was running"},
		"put in its place": {replaced, "it was removed or replaced while the agent was running"},
		"its content": {func(t *testing.T, dir string) {
			must(t, errors.Join(os.Rename(dir, dir+".moved"), os.Mkdir(dir, 0o700)))
		}, "it was removed or replaced"},
		"the vote":  {func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, voteName))) }, "the file vote was removed"},
		"the floor": {func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, floorName))) }, "the file floor was removed"},
		"the list":  {func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, raftlog.SegmentsName))) }, "the file segments was removed"},
		"the stamp": {func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, stampName))) }, "the file VERSION was removed"},
		"a segment": {func(t *testing.T, dir string) { must(t, os.Remove(oldest(t, dir))) }, ".wal was removed"},
	} {
		t.Run(what, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "raft")
			d := openTerm(t, dir, Config{SegmentSize: 4096, NoSync: true})
			for i := 1; len(d.segments.now().Segments) < 3; i++ {
				must(t, d.StoreLogs(entries(i, 1)))
			}
			must(t, d.intact())
			c.harm(t, dir)
			if c.says == "" {
				must(t, errors.Join(d.intact(), d.DeleteRange(1, 20), d.intact(), d.Close()))
				d = openTerm(t, dir, Config{SegmentSize: 4096, NoSync: true})
				must(t, errors.Join(d.intact(), d.Close()))
				return
			}
			select {
			case <-d.Failed():
			case <-time.After(20 * time.Second):
				t.Fatal("nobody has noticed")
			}
			if err := d.Failure(); !errors.Is(err, disk.ErrFailed) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("it failed with %v", err)
			}
			if err := d.StoreLogs(entries(1000, 1)); !errors.Is(err, disk.ErrFailed) {
				t.Errorf("it still stores: %v", err)
			}
			_ = d.Close()
		})
	}
}

func TestADirectoryThatIsGoneIsNotBegunAnewByTheSameProcess(t *testing.T) {
	dir, earlier := filepath.Join(t.TempDir(), "raft"), new(Earlier)
	for range 2 {
		d := openTerm(t, dir, Config{Earlier: earlier})
		must(t, d.Close())
	}
	must(t, os.RemoveAll(dir))
	for range 2 {
		if _, err := Open(dir, Config{Earlier: earlier}); !errors.Is(err, disk.ErrFailed) || !strings.Contains(err.Error(), "it was removed or replaced") {
			t.Errorf("opened again: %v", err)
		}
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("it is made: %v", err)
		}
	}
	d := openTerm(t, filepath.Join(t.TempDir(), "raft"), Config{Earlier: earlier})
	must(t, d.Close())
}

// slowFiles open no file for writing before they are let.
type slowFiles struct {
	types.VFS
	let <-chan struct{}
}

func (f slowFiles) OpenWriter(dir, name string) (types.WritableFile, error) {
	<-f.let
	return f.VFS.OpenWriter(dir, name)
}

func TestADirectoryThatCannotBeReadIsGivenUpAtTheDeadline(t *testing.T) {
	dir, earlier, let := t.TempDir(), new(Earlier), make(chan struct{})
	must(t, openTerm(t, dir, Config{SegmentSize: 4096}).Close())
	cfg := Config{WriteTimeout: 2 * time.Second, SegmentSize: 4096, Earlier: earlier, Files: slowFiles{fs.New(), let}}
	if _, err := Open(dir, cfg); !errors.Is(err, disk.ErrHung) || !strings.Contains(err.Error(), "no response for ") {
		t.Fatalf("it says %v", err)
	}
	if _, err := Open(dir, cfg); !errors.Is(err, disk.ErrHung) || !strings.Contains(err.Error(), "an earlier attempt") {
		t.Fatalf("again, it says %v", err)
	}
	close(let)
	for !earlier.opening.TryLock() { // until what was opened late is closed
		time.Sleep(time.Millisecond)
	}
	earlier.opening.Unlock()
	d, err := Open(dir, cfg)
	must(t, err)
	must(t, d.Close())
}
