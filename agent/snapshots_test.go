package agent_test

import (
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/agent"
	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/interrextest"
)

// snapshots returns the log indexes of an agent's snapshots.
func snapshots(t *testing.T, dir string) map[uint64]bool {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "*", "snapshots", "*[0-9]", "state.bin")) // .tmp: not whole yet
	if err != nil {
		t.Fatal(err)
	}
	all := map[uint64]bool{}
	for _, path := range found {
		name := filepath.Base(filepath.Dir(path)) // TERM-INDEX-TIME
		index, err := strconv.ParseUint(strings.Split(name, "-")[1], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		all[index] = true
	}
	return all
}

func TestSnapshotsComeAsConfigured(t *testing.T) {
	const threshold, retention = 60, 2
	start := func(entries uint64) (*agent.Agent, string) {
		dir := t.TempDir()
		return interrextest.Start(t, agent.Config{
			DataDir: dir, API: config.API{Socket: filepath.Join(t.TempDir(), "s")}, FSM: new(faults).machine,
			Raft: config.Raft{SnapshotInterval: time.Second, SnapshotThreshold: entries, SnapshotRetention: retention},
		}), dir
	}
	often, dir := start(threshold)
	never, neverDir := start(math.MaxUint64)
	var seen []uint64
	known := map[uint64]bool{}
	for end := time.Now().Add(2 * interrextest.Patience); len(seen) < retention+2; time.Sleep(10 * time.Millisecond) { // a poll
		if time.Now().After(end) {
			t.Fatalf("there are only the snapshots %v", seen)
		}
		for _, a := range []*agent.Agent{often, never} {
			if _, err := a.Propose(t.Context(), interrex.Proposal{Data: fmt.Append(nil, len(seen))}); err != nil {
				t.Fatal(err)
			}
		}
		for index := range snapshots(t, dir) {
			if !known[index] {
				known[index] = true
				seen = append(seen, index)
			}
		}
	}
	last := uint64(0)
	for _, index := range seen {
		if index-last < threshold {
			t.Errorf("snapshots %v: one came before %d entries", seen, threshold)
		}
		last = index
	}
	for end := time.Now().Add(interrextest.Patience); len(snapshots(t, dir)) > retention; time.Sleep(10 * time.Millisecond) { // a poll
		if time.Now().After(end) {
			t.Fatalf("%d snapshots are kept", len(snapshots(t, dir)))
		}
	}
	if left := snapshots(t, dir); !left[last] {
		t.Errorf("the newest, %d, is not kept: %v", last, left)
	}
	if found := snapshots(t, neverDir); len(found) > 0 {
		t.Errorf("one that should make none has %v", found)
	}
}

func TestSnapshotSettingsThatMeanNothingAreRefused(t *testing.T) {
	for want, raft := range map[string]config.Raft{
		"raft.snapshot-interval: 1s to 1h are allowed, not -1m": {SnapshotInterval: -time.Minute},
		"raft.snapshot-retention: 1 to 100 are allowed, not -1": {SnapshotRetention: -1},
	} {
		if _, err := agent.New(agent.Config{Raft: raft}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
