package raftworker

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/internal/peering"
)

func segmentFiles(t *testing.T, dir string) int {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.wal"))
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

// fill writes entries until the log has so many segments.
func (a *agent) fill(w *Worker, segments int) {
	a.t.Helper()
	for range 10_000 {
		if segmentFiles(a.t, a.cfg.StorageDir) >= segments {
			return
		}
		a.put(w, strings.Repeat("long", 250))
	}
	a.t.Fatal("the log does not grow")
}

func TestALogOfLargeEntriesIsBoundedInBytes(t *testing.T) {
	a := newAgent(t, "a", "a")
	a.cfg.segment, a.cfg.logBytes = 64<<10, 6*64<<10
	w := a.start()
	a.leads()
	a.fill(w, 6)
	a.put(w, "the last")
	last, _ := a.state.Applied()
	if last > 10_000 {
		t.Fatalf("%d entries: their number alone makes a snapshot", last)
	}
	a.fill(w, 7)
	a.until("fewer files", func() bool { return segmentFiles(t, a.cfg.StorageDir) <= 4 })
	r, err := w.Raft()
	if err != nil {
		t.Fatal(err)
	}
	// What is left is at least what the snapshot that was due leaves.
	a.until("the usual settings", func() bool { return r.ReloadableConfig().TrailingLogs == limits.MinTrailingLogs })
	first, err := w.life.dir.FirstIndex()
	if err != nil || first < 2 {
		t.Errorf("it begins at %d: %v", first, err)
	}
	a.stop(w)
	a.state = newState(t, a.log)
	a.cfg.State = a.state
	w = a.start()
	a.until("all of it", func() bool { i, _ := a.state.Applied(); return i >= last })
	a.stop(w)
}

func TestALogMayGrowToTheSizeOfTheSnapshot(t *testing.T) {
	a := newAgent(t, "a", "a")
	a.cfg.segment, a.cfg.logBytes, a.cfg.SnapshotThreshold = 64<<10, 2*64<<10, 8
	w := a.start()
	a.leads()
	for i := range 500 {
		a.put(w, fmt.Sprintf("%d %s", i, strings.Repeat("long", 250)))
	}
	r, err := w.Raft()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Snapshot().Error(); err != nil && !errors.Is(err, raft.ErrNothingNewToSnapshot) {
		t.Fatal(err)
	}
	a.until("the snapshot has all", func() bool { return w.life.dir.SnapshotBytes() > 6*64<<10 })
	a.until("the usual settings", func() bool { return r.ReloadableConfig().TrailingLogs == limits.MinTrailingLogs })
	a.until("as many entries as it is large make the next due", func() bool {
		return r.ReloadableConfig().SnapshotThreshold == uint64(w.life.dir.SnapshotBytes()/entryBytes)
	})
	if got, want := w.life.maxLog(), w.life.dir.SnapshotBytes(); got != want {
		t.Errorf("a snapshot of %d bytes is due with %d of log", want, got)
	}
	a.fill(w, 6)
	if n := segmentFiles(t, a.cfg.StorageDir); n < 6 {
		t.Errorf("the log of %d segments was cut", n)
	}
	for range 10_000 {
		if first, err := w.life.dir.FirstIndex(); err != nil || first > 1 {
			break
		}
		a.put(w, strings.Repeat("long", 250))
	}
	if n := segmentFiles(t, a.cfg.StorageDir); n < 3 { // half of it stays
		t.Errorf("%d segments are left", n)
	}
	a.stop(w)
}

func TestThresholdAndTrailingFollowTheSizes(t *testing.T) {
	usual := raft.ReloadableConfig{TrailingLogs: 10_240, SnapshotThreshold: 8192}
	for _, c := range []struct {
		snapshot            int64
		most                uint64
		trailing, threshold uint64
	}{
		{0, 0, 10_240, 8192},
		{8192 * entryBytes, 0, 10_240, 8192},
		{9000 * entryBytes, 0, 10_240, 9000},
		{1 << 30, 0, 262_144, 262_144},
		{1 << 30, 9000, 9000, 9000},
		{0, 9000, 9000, 8192},
		{0, 20_000, 10_240, 8192},
		{0, 1, 1, 1},
	} {
		if got := sized(usual, c.snapshot, c.most); got.TrailingLogs != c.trailing || got.SnapshotThreshold != c.threshold {
			t.Errorf("%d bytes, at most %d: %+v", c.snapshot, c.most, got)
		}
	}
}

func TestAHaltedAgentLeavesRaftWhenItsLogIsTooLong(t *testing.T) {
	all := startCluster(t, func(a *agent, _ *peering.Transport) {
		a.cfg.segment, a.cfg.logBytes = 64<<10, 4*64<<10
	}, "a", "b", "c")
	first := leader(t, all)
	first.put(first.w, "one")
	var halted *running
	for _, r := range all {
		if r != first {
			halted = r
		}
	}
	halted.until("the entry", func() bool { i, _ := halted.state.Applied(); return i > 0 })
	halted.halt()
	ended := make(chan error, 1)
	go func() { ended <- halted.w.Wait() }()
	deadline := time.Now().Add(within)
	for over := false; !over; {
		first.put(first.w, strings.Repeat("long", 250))
		select {
		case err := <-ended:
			if over = true; !errors.Is(err, errLogFull) {
				t.Errorf("it ended with %v", err)
			}
		default:
			if time.Now().After(deadline) {
				t.Fatal("it stays")
			}
		}
	}
	if _, err := NewWorker(halted.cfg); !errors.Is(err, errLogFull) {
		t.Errorf("it starts again: %v", err)
	}
	delete(all, halted.name())
	stopAll(all)
}
