package featuretests

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/interrex/interrex"
)

// The agent that lock talks to is paused, so the lease cannot be extended. The
// command ignores SIGTERM and records the time as long as it lives: it must be dead
// before the lease is granted to another holder.
func TestLockEndsItsCommandBeforeAnotherCanWin(t *testing.T) {
	f := newFleet(t, 3, nil)
	leader := f.leader()
	beats := filepath.Join(f.dir, "beats")
	lock, said := f.run(leader, "lock", "app/db", "--ttl", "2s", "--",
		"sh", "-c", `trap "" TERM; while :; do date +%s%N >> "$0"; sleep 0.01; done`, beats)
	eventually(t, "the command runs", func() error { _, err := os.Stat(beats); return err })

	f.signal(leader, syscall.SIGSTOP)
	rest := f.client(f.others(leader)...).Leases()
	_, err := rest.Claim(t.Context(), interrex.ClaimRequest{Key: key("app/db"), Holder: "bob", Wait: patience})
	granted := time.Now()
	if err != nil {
		t.Fatal(err)
	}
	if err := lock.Wait(); lock.ProcessState.ExitCode() != 120 {
		t.Errorf("lock ended with %v, want exit code 120\n%s", err, said)
	}
	last := lastBeat(t, beats)
	t.Logf("the command was dead %s before the lease was granted again", granted.Sub(last).Round(time.Millisecond))
	if !last.Before(granted) {
		t.Errorf("the command lived until %s, when the lease had been granted again at %s", last, granted)
	}
}

// lastBeat returns the last time that the command recorded.
func lastBeat(t *testing.T, file string) time.Time {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Fields(string(text))
	n, err := strconv.ParseInt(lines[len(lines)-1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return time.Unix(0, n)
}

func TestCommandOfAKilledLockGoesWithIt(t *testing.T) {
	f := newFleet(t, 1, nil)
	beats := filepath.Join(f.dir, "beats")
	lock, _ := f.run(0, "lock", "app/db", "--", "sh", "-c", `echo $$ > "$0"; exec sleep 600`, beats)
	var pid int
	eventually(t, "the command runs", func() error {
		text, err := os.ReadFile(beats)
		if err == nil {
			pid, err = strconv.Atoi(strings.TrimSpace(string(text)))
		}
		return err
	})
	if err := lock.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = lock.Wait()
	eventually(t, "the command is gone", func() error {
		if err := syscall.Kill(pid, 0); err == nil {
			return os.ErrExist
		}
		return nil
	})
}

// run starts a command of the binary that talks to member i; its output is complete
// after Wait.
func (f *fleet) run(i int, args ...string) (*exec.Cmd, *bytes.Buffer) {
	f.t.Helper()
	path, err := binary()
	if err != nil {
		f.t.Fatal(err)
	}
	said := &bytes.Buffer{}
	cmd := exec.CommandContext(f.t.Context(), path, args...)
	cmd.Env = append(os.Environ(), "INTERREX_ADDR="+f.socket(i))
	cmd.Stdout, cmd.Stderr = said, said
	cmd.WaitDelay = patience
	if err := cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	return cmd, said
}
