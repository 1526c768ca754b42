package datadir

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/juju/clock/testclock"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/silent"
	"github.com/interrex/interrex/internal/testreplica"
	"github.com/interrex/interrex/state"
)

// Nothing else is deleted, and the agent can be started again: it founds no cluster.
func TestAPurgedDirectorySaysThatItsAgentWasRemoved(t *testing.T) {
	path := t.TempDir()
	is := Identity{ID: "a", ClusterID: strings.Repeat("00", 16), Incarnation: strings.Repeat("11", 16)}
	if err := SaveIdentity(path, is); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{filepath.Join(RaftDir, "x"), PeersName, "agent.pem"} {
		file := filepath.Join(path, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	for _, purge := range []bool{false, true} {
		dir, err := Open(path, func(string) string { return "a" })
		if err != nil {
			t.Fatal(err)
		}
		if purge {
			err = dir.Purge()
		}
		if err = errors.Join(err, dir.Close()); err != nil {
			t.Fatal(err)
		}
		for name, stays := range map[string]bool{RaftDir: !purge, PeersName: !purge, "agent.pem": true} {
			if _, err := os.Stat(filepath.Join(path, name)); (err == nil) != stays {
				t.Errorf("purged %v: %s: %v", purge, name, err)
			}
		}
	}
	dir, err := Open(path, func(string) string { return "a" })
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = dir.Close() }()
	if !dir.Removed || dir.Incarnation != is.Incarnation || dir.ClusterID != is.ClusterID {
		t.Errorf("it is %+v", dir.Identity)
	}
}

func TestTheClusterIsOnDiskOnceItIsKnown(t *testing.T) {
	r := testreplica.New(t, func() []state.Table { return nil })
	path, cluster := t.TempDir(), strings.Repeat("00", 16)
	dir, err := Open(path, func(string) string { return "a" })
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = dir.Close() }()
	now := testclock.NewClock(time.Now())
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	keep := dir.KeepIdentity(r.State, func() map[string]string { return map[string]string{"c": "disk c"} }, now, silent.Logger{})
	go func() { ended <- keep(ctx) }()
	c := &machine.SetIdentity{Identity: machine.Identity{ClusterID: cluster, Epoch: interrex.Epoch{Bits: 1}, Incarnations: map[string]string{"b": "disk b"}}}
	if res := r.Do(1, state.Operation{Table: machine.SystemTable, Data: c.Append(nil)}); res[0].Err != nil {
		t.Fatal(res[0].Err)
	}
	file := filepath.Join(path, "identity.json")
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) { // no time of the worker's passes
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), cluster) && strings.Contains(string(b), "disk b") && strings.Contains(string(b), "disk c") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("on disk is %s", b)
		}
	}
	look := func() { // twice, so that the first look is over
		t.Helper()
		for range 2 {
			if err := now.WaitAdvance(200*time.Millisecond, 20*time.Second, 1); err != nil {
				t.Fatal(err)
			}
		}
		if err := now.WaitAdvance(0, 20*time.Second, 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	look()
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what is on disk already is written again: %v", err)
	}
	epoch := &machine.Recover{ClusterID: cluster, Bits: 7, Survivor: "a", Incarnation: dir.Incarnation}
	if res := r.Do(2, state.Operation{Table: machine.SystemTable, Data: epoch.Append(nil)}); res[0].Err != nil {
		t.Fatal(res[0].Err)
	}
	look()
	if b, err := os.ReadFile(file); err != nil || !strings.Contains(string(b), `"number": 1`) {
		t.Errorf("the new epoch is not on disk: %s, %v", b, err)
	}
	end()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// The disks that a snapshot has may be older than those that are noted: it is not noted
// again until the log has been read.
func TestWhatIsKnownOfOtherDisksIsNotForgotten(t *testing.T) {
	r := testreplica.New(t, func() []state.Table { return nil })
	path, cluster := t.TempDir(), strings.Repeat("00", 16)
	is := Identity{ID: "a", ClusterID: cluster, Epoch: interrex.Epoch{Bits: 1}, Incarnation: strings.Repeat("11", 16), Incarnations: map[string]string{"b": "second"}, KnownAt: 100}
	c := &machine.SetIdentity{Identity: machine.Identity{ClusterID: cluster, Epoch: is.Epoch, Incarnations: map[string]string{"b": "first"}}}
	if res := r.Do(1, state.Operation{Table: machine.SystemTable, Data: c.Append(nil)}); res[0].Err != nil {
		t.Fatal(res[0].Err)
	}
	if err := SaveIdentity(path, is); err != nil {
		t.Fatal(err)
	}
	dir := &Dir{Identity: is, Path: path, saved: is}
	now := testclock.NewClock(time.Now())
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- dir.KeepIdentity(r.State, func() map[string]string { return nil }, now, silent.Logger{})(ctx)
	}()
	for range 3 {
		if err := now.WaitAdvance(200*time.Millisecond, 20*time.Second, 1); err != nil {
			t.Fatal(err)
		}
	}
	end()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if again, err := readIdentity(filepath.Join(path, "identity.json")); err != nil || again.Incarnations["b"] != "second" || again.KnownAt != 100 {
		t.Errorf("it is noted that %+v, %v", again, err)
	}
}
