package featuretests

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
)

// save runs 'snapshot save' at member i, and returns the file.
func (f *fleet) save(i int, name string) []byte {
	f.t.Helper()
	path := filepath.Join(f.dir, name)
	if out, err := f.at(i, "snapshot", "save", "--force", path).CombinedOutput(); err != nil {
		f.t.Fatalf("%s cannot save: %v: %s", f.id(i), err, out)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		f.t.Fatal(err)
	}
	return file
}

// at returns a command at member i that was not started.
func (f *fleet) at(i int, args ...string) *exec.Cmd {
	f.t.Helper()
	path, err := binary()
	if err != nil {
		f.t.Fatal(err)
	}
	cmd := exec.CommandContext(f.t.Context(), path, args...)
	cmd.Env = append(os.Environ(), "INTERREX_ADDR="+f.socket(i))
	cmd.WaitDelay = patience
	return cmd
}

// append appends changes of half a MiB each through member i, that many MiB together.
func (f *fleet) append(i, mib int) {
	f.t.Helper()
	changes := dial(f.t, client.Config{Addresses: []string{f.socket(i)}}).Changes()
	for n := range 2 * mib {
		if _, err := changes.Append(f.t.Context(), interrex.AppendRequest{Data: []byte(`"` + strings.Repeat(string(rune('a'+n%26)), 500<<10) + `"`)}); err != nil {
			f.t.Fatal(err)
		}
	}
}

// only fails unless a directory has these files and no others.
func only(t *testing.T, dir string, names ...string) {
	t.Helper()
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, one := range all {
		found = append(found, one.Name())
	}
	if fmt.Sprint(found) != fmt.Sprint(names) {
		t.Errorf("%s has %q, want %q", dir, found, names)
	}
}

func TestEveryAgentSavesTheSameStateUnderLoad(t *testing.T) {
	f := newFleet(t, 3, nil)
	stop := make(chan struct{})
	var load sync.WaitGroup
	for i := range 3 {
		leases := dial(t, client.Config{Addresses: []string{f.socket(i)}}).Leases()
		load.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				k := key(fmt.Sprintf("load-%d/%d", i, n))
				if won, err := leases.Claim(t.Context(), interrex.ClaimRequest{Key: k, Holder: "ann", TTL: time.Hour}); err == nil && n%2 == 0 {
					_, _ = leases.Revoke(t.Context(), interrex.RevokeRequest{Key: k, Token: won.Lease.Token})
				}
			}
		})
	}
	for n := range 9 {
		name := fmt.Sprintf("%d.snap", n)
		f.save(n%3, name)
		if out, said := f.printed("snapshot", "inspect", filepath.Join(f.dir, name)); !strings.Contains(out, "\nleases ") {
			t.Errorf("inspected: %s%s", out, said)
		}
	}
	close(stop)
	load.Wait()
	eventually(t, "all agents save the same", func() error {
		first := f.save(0, "0.snap")
		for i := 1; i < 3; i++ {
			if !bytes.Equal(f.save(i, "1.snap"), first) {
				return errors.New("they differ")
			}
		}
		return nil
	})
}

// The command is stopped while it receives, and goes on when the agent is dead.
func TestASaveFromAnAgentThatDiesLeavesNoFile(t *testing.T) {
	f := newFleet(t, 1, nil)
	f.append(0, 20)
	dir := t.TempDir()
	path := filepath.Join(dir, "x.snap")
	for caught := false; !caught; {
		_ = os.Remove(path) // of the last round
		cmd := f.at(0, "snapshot", "save", path, "--timeout", "2s")
		var said bytes.Buffer
		cmd.Stderr = &said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		if caught = receiving(dir, path, ended); !caught {
			continue
		}
		_ = cmd.Process.Signal(syscall.SIGSTOP)
		if _, err := os.Stat(path); err == nil { // it was faster
			_ = cmd.Process.Signal(syscall.SIGCONT)
			<-ended
			caught = false
			continue
		}
		f.kill(0)
		_ = cmd.Process.Signal(syscall.SIGCONT)
		err := <-ended
		if _, there := os.Stat(path); there == nil && err == nil {
			f.start(0) // all of it had been sent before
			f.answers(0)
			caught = false
			continue
		}
		if err == nil || !strings.Contains(said.String(), "cannot save "+path) {
			t.Errorf("it ends with %v: %s", err, said.String())
		}
		only(t, dir)
	}
}

// The command is killed more often than an agent sends snapshots at the same time: what had
// the name of the file stays, and the agent goes on.
func TestASaveThatIsKilledLeavesTheFileAsItWas(t *testing.T) {
	f := newFleet(t, 1, nil)
	f.append(0, 20)
	for _, older := range []string{"older", "", "older"} {
		path := f.killedInSave(older)
		left, err := filepath.Glob(path + ".*.new")
		if err != nil || len(left) != 1 {
			t.Fatalf("it leaves %q, %v", left, err)
		}
		names := []string{filepath.Base(left[0])}
		if older != "" {
			names = []string{filepath.Base(path), names[0]}
		}
		only(t, filepath.Dir(path), names...)
	}
	path := filepath.Join(t.TempDir(), "x.snap")
	eventually(t, "the next save is made", func() error {
		if out, err := f.at(0, "snapshot", "save", path).CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	f.mustRun("snapshot", "inspect", path)
}

// killedInSave kills a save before its file has its name, and returns that name. older is
// what a file of that name has before; with "" there is no such file.
func (f *fleet) killedInSave(older string) string {
	f.t.Helper()
	for {
		path := filepath.Join(f.t.TempDir(), "x.snap")
		if older != "" {
			if err := os.WriteFile(path, []byte(older), 0o600); err != nil {
				f.t.Fatal(err)
			}
		}
		cmd := f.at(0, "snapshot", "save", "--force", path)
		if err := cmd.Start(); err != nil {
			f.t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		received := receiving(filepath.Dir(path), path, ended)
		_ = cmd.Process.Kill() // it may have ended
		<-ended
		now, err := os.ReadFile(path)
		if received && string(now) == older && (err == nil) == (older != "") {
			return path
		}
		f.mustRun("snapshot", "inspect", path) // it was faster
	}
}

// receiving waits until a file beside path has something in it; false: the command has
// ended before that was seen.
func receiving(dir, path string, ended chan error) bool {
	for {
		select {
		case err := <-ended:
			ended <- err
			return false
		default:
		}
		all, _ := filepath.Glob(filepath.Join(dir, filepath.Base(path)+".*.new"))
		for _, one := range all {
			if info, err := os.Stat(one); err == nil && info.Size() > 0 {
				return true
			}
		}
	}
}

func TestASaveToAFullDiskLeavesNoFile(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("this test mounts a small file system, which only root may: it did not run")
	}
	f := newFleet(t, 1, nil)
	f.append(0, 4)
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatalf("cannot mount a tmpfs: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	kept := filepath.Join(dir, "kept.snap")
	if err := os.WriteFile(kept, []byte("older"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := f.at(0, "snapshot", "save", kept, "--force").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "no space left on device") {
		t.Errorf("it ends with %v: %s", err, out)
	}
	only(t, dir, "kept.snap")
	if text, err := os.ReadFile(kept); err != nil || string(text) != "older" {
		t.Errorf("the older file is %q, %v", text, err)
	}
}

// A pipe that nobody reads is as a slow network.
func TestASaveThatIsReadSlowlyIsWhole(t *testing.T) {
	f := newFleet(t, 1, nil)
	f.append(0, 12)
	cmd := f.at(0, "snapshot", "save", "-")
	pipe, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	first := make([]byte, 1)
	if _, err := io.ReadFull(pipe, first); err != nil { // it has begun
		t.Fatal(err)
	}
	leases := dial(t, client.Config{Addresses: []string{f.socket(0)}}).Leases()
	for n := range 100 { // the agent does not wait for it
		if _, err := leases.Claim(t.Context(), interrex.ClaimRequest{Key: key(fmt.Sprintf("app/%d", n)), Holder: "ann", TTL: time.Hour}); err != nil {
			t.Fatal(err)
		}
	}
	rest, err := io.ReadAll(pipe)
	if err := errors.Join(err, cmd.Wait()); err != nil {
		t.Fatal(err)
	}
	inspect := f.at(0, "snapshot", "inspect", "-", "-o", "json")
	inspect.Stdin = io.MultiReader(bytes.NewReader(first), bytes.NewReader(rest))
	if out, err := inspect.CombinedOutput(); err != nil || strings.Contains(string(out), `"name": "app"`) {
		t.Errorf("%v: what came after the save began is in it: %s", err, out)
	}
}

func TestASaveThroughAnAgentWithoutRaftIsThatOfAMember(t *testing.T) {
	t.Parallel()
	f := enrol(t, 1)
	f.append(0, 4)
	one, two := f.addForwarder("f1", withToken(f.path(0, "operator.token"))), f.addForwarder("f2", nil)
	path := filepath.Join(f.dir, "x.snap")
	if out, err := f.at(two, "snapshot", "save", path).CombinedOutput(); err == nil || !strings.Contains(string(out), "api.token-file") {
		t.Errorf("without a token: %v: %s", err, out)
	}
	f.save(one, "x.snap")
	if out := f.must("snapshot", "inspect", path); !strings.Contains(out, "\nchanges ") {
		t.Error(out)
	}
	if out := f.must("snapshot", "save", path, "--force", "--addr", f.socket(one)); !strings.Contains(out, f.id(0)+", at") {
		t.Errorf("it does not name the member: %s", out)
	}
}
