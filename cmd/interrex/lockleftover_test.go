package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/interrex/interrex"
)

// fifo is a file that a command reads from until the test lets it go.
func fifo(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// letGo ends the reading of a fifo, once a process has opened it.
func letGo(t *testing.T, path string) {
	t.Helper()
	if err := eventually(func() error {
		f, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NONBLOCK, 0)
		if err != nil {
			return err
		}
		return f.Close()
	}); err != nil {
		t.Fatalf("no process reads: %v", err)
	}
}

func TestLockWaitsForWhatItsCommandLeavesBehind(t *testing.T) {
	b := newBench(t)
	for _, background := range []string{"cat $0 &", "setsid cat $0 &", `(setsid sh -c "cat $0 & exit" &);`} {
		path := fifo(t)
		r := start(t, "http://"+b.addr, "lock", "a", "--", "sh", "-c", background+" exit 3", path)
		r.says("the command has left cat (pid ")
		if err := b.free("a"); err == nil {
			t.Errorf("%s: the lease is free while it works", background)
		}
		letGo(t, path)
		r.want(3)
		if err := b.free("a"); err != nil {
			t.Error(err)
		}
	}
}

// deaf leaves two processes behind that print as long as they live, one of which
// has left the group; both ignore TERM.
const deaf = `trap "" TERM; beat='while :; do echo beat; sleep 0.02; done'; sh -c "$beat" & setsid sh -c "$beat" & `

// killProcess kills the process of a pid that a command has printed.
func killProcess(t *testing.T, text string) {
	t.Helper()
	pid, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// started prints the reaper's pid on standard error, and waits for HUP, which lock passes on once it
// knows that the command was started.
const started = `trap up=1 HUP; echo $PPID >&2; echo up; while [ -z "$up" ]; do sleep 0.01; done; `

// leaver leaves a process behind that has left the group, and then does $2.
const leaver = started + `setsid sh -c 'echo up >$1; exec cat $0' $0 $1 & read up <$1; eval "$2"`

func TestLockWaitsForWhatACommandLeavesThatKillsItsGroup(t *testing.T) {
	leftHeld(t, "kill -9 0", exitSignal+9, func(r *speaking, _ string) {
		r.says("the command has left cat (pid ")
	})
}

func TestLockWaitsForWhatAKilledReaperLeaves(t *testing.T) {
	leftHeld(t, "kill -9 $PPID; exec sleep 1000", exitSignal+9, func(r *speaking, _ string) {
		r.says("the command has left cat (pid ")
	})
}

func TestLockWaitsOnWhenTheReaperIsKilled(t *testing.T) {
	leftHeld(t, "exit 3", 3, func(r *speaking, reaper string) {
		r.says("the command has left cat (pid ")
		killProcess(t, reaper)
		r.says("what the command has left running would survive if lock were killed now")
	})
}

// leftHeld expects that the lease is held after meanwhile until what a leaver has
// left has ended, and lock's code then.
func leftHeld(t *testing.T, then string, code int, meanwhile func(r *speaking, reaper string)) {
	t.Helper()
	b := newBench(t)
	path, up := fifo(t), fifo(t)
	r := start(t, "http://"+b.addr, "lock", "a", "--", "sh", "-c", leaver, path, up, then)
	r.says("\n")
	reaper, _, _ := strings.Cut(r.stderr.String(), "\n")
	if err := r.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	meanwhile(r, reaper)
	if err := b.free("a"); err == nil {
		t.Error("the lease is free while it works")
	}
	letGo(t, path)
	r.want(code)
	if err := b.free("a"); err != nil {
		t.Error(err)
	}
}

func TestLockEndsWhatAKilledReaperLeaves(t *testing.T) {
	b := newBench(t)
	l := b.lock("a", "--ttl", "10s", "--leftover", "kill", "--", "sh", "-c", started+deaf+"kill -9 $PPID; wait")
	l.line()
	if err := l.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	l.silence()
	l.want(exitSignal + 9)
	if err := b.free("a"); err != nil {
		t.Error(err)
	}
}

func TestLockEndsWhatItsCommandLeavesBehind(t *testing.T) {
	b := newBench(t)
	l := b.lock("a", "--ttl", "10s", "--leftover", "kill", "--", "sh", "-c", deaf+"exit 3")
	l.line()
	l.silence()
	l.want(3)
	if err := b.free("a"); err != nil {
		t.Error(err)
	}
}

func TestLockLeavesWhatItsCommandLeavesBehind(t *testing.T) {
	b := newBench(t)
	path := fifo(t)
	l := b.lock("a", "--leftover", "leave", "--", "sh", "-c", "cat $0 & exit 4", path)
	l.want(4)
	if err := b.free("a"); err != nil {
		t.Error(err)
	}
	letGo(t, path)
}

func TestALossEndsWhatHasLeftTheGroup(t *testing.T) {
	b := newBench(t)
	for _, rest := range []string{"wait", "exit 3"} {
		l := b.lock("a", "--ttl", "6s", "--", "sh", "-c", deaf+rest)
		l.line()
		if _, err := b.leases.Revoke(t.Context(), interrex.RevokeRequest{Key: mustKey("a"), Force: true}); err != nil {
			t.Fatal(err)
		}
		l.silence()
		l.want(exitLost)
	}
}

func TestALossEndsWhatWouldBeLeft(t *testing.T) {
	b := newBench(t)
	// The command itself ends at TERM before those that it leaves behind.
	l := b.lock("a", "--ttl", "6s", "--leftover", "leave", "--", "sh", "-c", deaf+"trap - TERM; wait")
	l.line()
	if _, err := b.leases.Revoke(t.Context(), interrex.RevokeRequest{Key: mustKey("a"), Force: true}); err != nil {
		t.Fatal(err)
	}
	l.silence()
	l.want(exitLost)
}

func TestASignalIsForWhatTheCommandHasLeftBehindToo(t *testing.T) {
	b := newBench(t)
	for _, background := range []string{"cat $0 &", "setsid cat $0 &"} {
		r := start(t, "http://"+b.addr, "lock", "a", "--", "sh", "-c", background+" exit 3", fifo(t))
		r.says("the command has left cat (pid ")
		if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		r.want(3)
		if err := b.free("a"); err != nil {
			t.Errorf("%s: %v", background, err)
		}
	}
}

func TestAStoppedCommandHearsThatTheLeaseIsLost(t *testing.T) {
	b := newBench(t)
	r := start(t, "http://"+b.addr, "lock", "a", "--ttl", "20s", "--", "sh", "-c", `trap "echo it hears >&2; exit" TERM; kill -STOP $$; while :; do sleep 0.01; done`)
	r.says("the command is stopped, and the lease default/a is still held")
	if _, err := b.leases.Revoke(t.Context(), interrex.RevokeRequest{Key: mustKey("a"), Force: true}); err != nil {
		t.Fatal(err)
	}
	r.says("it hears")
	r.want(exitLost)
}

func TestLockKilledTakesWhatHasLeftTheGroupWithIt(t *testing.T) {
	b := newBench(t)
	l := b.lock("a", "--", "sh", "-c", deaf+"wait")
	l.line()
	if err := l.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	l.silence()
	l.want(-1)
}

func TestAStoppedCommandIsNoHarm(t *testing.T) {
	b := newBench(t)
	r := start(t, "http://"+b.addr, "lock", "a", "--", "sh", "-c", `ps -o pgid= -p $$ >&2; kill -TSTP $$; exit 5`)
	r.says("the command is stopped, and the lease default/a is still held")
	if err := b.free("a"); err == nil {
		t.Error("the lease is free")
	}
	first, _, _ := strings.Cut(strings.TrimSpace(r.stderr.String()), "\n")
	group, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(-group, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	r.want(5)
}
