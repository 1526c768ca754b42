package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/internal/testport"
)

// bench is an agent in a process of its own, and a client beside the locks.
type bench struct {
	t      *testing.T
	addr   string
	agent  *process
	leases interrex.Leases
}

func newBench(t *testing.T) *bench {
	t.Helper()
	t.Parallel()
	port, err := testport.Free(devPorts...)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, addr: "127.0.0.1:" + strconv.Itoa(port)}
	dir := t.TempDir()
	b.agent, err = startProcess(dir, b.addr, "agent", "run", "--api", b.addr, "--data-dir", filepath.Join(dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = b.agent.cmd.Process.Kill() // it may have been killed already
		if t.Failed() {
			t.Log("the agent said:\n" + b.agent.said())
		}
		<-b.agent.over
	})
	c, err := client.Dial(t.Context(), client.Config{Addresses: []string{"http://" + b.addr}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	b.leases = c.Leases()
	return b
}

// locking is one `interrex lock`.
type locking struct {
	t      *testing.T
	cmd    *exec.Cmd
	lines  *bufio.Scanner
	stderr bytes.Buffer
}

// lock starts `interrex lock ARGS`. Its output ends when the last process that
// came of it has ended.
func (b *bench) lock(args ...string) *locking {
	b.t.Helper()
	return b.start(program(append([]string{"lock"}, args...)...))
}

// start starts a lock.
func (b *bench) start(c *exec.Cmd) *locking {
	b.t.Helper()
	l := &locking{t: b.t, cmd: c}
	l.cmd.Env = append(l.cmd.Env, "INTERREX_ADDR=http://"+b.addr)
	out, in, err := os.Pipe()
	if err != nil {
		b.t.Fatal(err)
	}
	l.cmd.Stdout, l.cmd.Stderr = in, &l.stderr
	// What the command leaves behind may keep standard error open.
	l.cmd.WaitDelay = time.Second
	if err := l.cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	_ = in.Close()
	b.t.Cleanup(func() { _ = out.Close() })
	if err := out.SetReadDeadline(time.Now().Add(patience)); err != nil {
		b.t.Fatal(err)
	}
	l.lines = bufio.NewScanner(out)
	return l
}

// line waits for the command's next line.
func (l *locking) line() string {
	l.t.Helper()
	if !l.lines.Scan() {
		l.t.Fatalf("no line: %v; lock says: %s", l.lines.Err(), l.stderr.String())
	}
	return l.lines.Text()
}

// silence waits until no process of the command's group is left to print, and
// returns the time of the last line.
func (l *locking) silence() (last time.Time) {
	l.t.Helper()
	for l.lines.Scan() {
		last = time.Now()
	}
	if err := l.lines.Err(); err != nil {
		l.t.Fatalf("a process of the command's group is still running: %v", err)
	}
	return last
}

// code waits for lock's end.
func (l *locking) code() int {
	l.t.Helper()
	late := time.AfterFunc(patience, func() { _ = l.cmd.Process.Kill() })
	defer late.Stop()
	return codeOf(l.cmd.Wait())
}

func (l *locking) want(code int) {
	l.t.Helper()
	if got := l.code(); got != code {
		l.t.Fatalf("exit code %d, not %d; lock says: %s", got, code, l.stderr.String())
	}
}

func (b *bench) free(key string) error {
	_, _, err := b.leases.Get(b.t.Context(), mustKey(key), interrex.ReadOptions{})
	if errors.Is(err, interrex.ErrNotFound) {
		return nil
	}
	return errors.Join(errors.New("it is held"), err)
}

func mustKey(text string) interrex.Key {
	k, err := interrex.ParseKey(text)
	if err != nil {
		panic(err)
	}
	return k
}

// stubborn prints as long as its child lives; both ignore TERM.
const stubborn = `trap "" TERM; (while :; do echo beat; sleep 0.02; done) & while :; do wait; done`

func TestLockGivesTheCommandsCodeAndReleases(t *testing.T) {
	b := newBench(t)
	l := b.lock("a", "--", "sh", "-c", "echo $INTERREX_LEASE_KEY $INTERREX_LEASE_TOKEN; exit 7")
	key, token, _ := strings.Cut(l.line(), " ")
	if n, err := strconv.Atoi(token); key != "default/a" || err != nil || n == 0 {
		t.Errorf("the command got the key %q and the token %q", key, token)
	}
	l.want(7)
	if err := b.free("a"); err != nil {
		t.Error(err)
	}
}

func TestLockHasCodesOfItsOwn(t *testing.T) {
	b := newBench(t)
	if _, err := b.leases.Claim(t.Context(), interrex.ClaimRequest{Key: mustKey("taken"), Holder: "ann", TTL: time.Hour}); err != nil {
		t.Fatal(err)
	}
	b.lock("taken", "--wait", "0s", "--", "true").want(exitWaitedOut)
	waits := b.lock("taken", "--wait", "4s", "--", "true")
	waits.want(exitWaitedOut)
	if said := waits.stderr.String(); !strings.Contains(said, "waiting for default/taken: held by ann for ") {
		t.Errorf("a lock that waits does not say for whom: %s", said)
	}
	b.lock("a", "--", "/nowhere/nosuch").want(exitNotFound)
	b.lock("a", "--", "nosuch-command").want(exitNotFound)
	b.lock("a", "--", "/etc/passwd").want(exitCannotRun)
	b.lock("a", "--", "sh", "-c", "kill -KILL $$").want(exitSignal + 9)
	b.lock("a", "--ttl", "1ms", "--", "true").want(exitUsage)
	b.lock("BAD/a", "--", "true").want(exitUsage)
	if err := b.agent.end(syscall.SIGKILL); codeOf(err) == 0 {
		t.Fatal(err)
	}
	b.lock("a", "--wait", "0s", "--ttl", "1s", "--", "true").want(exitWaitedOut)
}

func TestLockPassesSignalsOn(t *testing.T) {
	b := newBench(t)
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT} {
		l := b.lock("a", "--", "sh", "-c", `trap "exit 9" INT TERM HUP QUIT; echo up; while :; do sleep 0.01; done`)
		l.line()
		if err := l.cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		l.want(9)
		if err := b.free("a"); err != nil {
			t.Errorf("after %s: %v", sig, err)
		}
	}
}

func TestLockThatWaitsEndsAtASignal(t *testing.T) {
	b := newBench(t)
	first := b.lock("a", "--", "sh", "-c", "echo up; exec sleep 1000")
	first.line()
	second := b.lock("a", "--", "echo", "never")
	for deadline := time.Now().Add(patience); ; {
		l, _, err := b.leases.Get(t.Context(), mustKey("a"), interrex.ReadOptions{})
		if err == nil && l.Waiting != nil && *l.Waiting == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("nobody waits: %v", err)
		}
	}
	if err := second.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	second.want(exitSignal + 2)
	if err := first.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	first.want(exitSignal + 15)
}

func TestLockKilledTakesTheWholeGroupWithIt(t *testing.T) {
	b := newBench(t)
	l := b.lock("a", "--", "sh", "-c", stubborn)
	l.line()
	if err := l.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	l.silence()
	l.want(-1)
}

func TestLockWithoutItsReaperEndsTheCommand(t *testing.T) {
	b := newBench(t)
	l := b.lock("a", "--", "sh", "-c", started+"sleep 1000 & kill -9 $PPID; wait")
	l.line()
	if err := l.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	l.silence()
	l.want(exitSignal + 9)
}

func TestLockEndsAStubbornCommandHalfAMarginAfterALoss(t *testing.T) {
	b := newBench(t)
	l := b.lock("a", "--ttl", "20s", "--", "sh", "-c", stubborn)
	l.line()
	began := time.Now()
	if _, err := b.leases.Revoke(t.Context(), interrex.RevokeRequest{Key: mustKey("a"), Force: true}); err != nil {
		t.Fatal(err)
	}
	took := l.silence().Sub(began)
	l.want(exitLost)
	// It learns of it at the next extend, within a third of the ttl, and has half of
	// a margin of 2 s. By the ttl alone it would be killed after 11 s at the earliest.
	if took < time.Second || took > 11*time.Second {
		t.Errorf("the command was killed %s after the loss", took)
	}
}

func TestLockEndsTheCommandBeforeAnybodyElseCouldHoldTheLease(t *testing.T) {
	b := newBench(t)
	l := b.lock("a", "--ttl", "10s", "--", "sh", "-c", stubborn)
	l.line()
	if err := b.agent.end(syscall.SIGKILL); codeOf(err) == 0 {
		t.Fatal(err)
	}
	began := time.Now()
	if took := l.silence().Sub(began); took > 10*time.Second {
		t.Errorf("the command lived for %s without an agent, longer than the ttl", took)
	}
	l.want(exitLost)
}

func TestALockThatIsStoppedEndsItsCommandAtTheDeadline(t *testing.T) {
	b := newBench(t)
	l := b.lock("a", "--ttl", "6s", "--", "sh", "-c", "echo $$; exec sleep 1000")
	command, err := strconv.Atoi(l.line())
	if err != nil {
		t.Fatal(err)
	}
	if err := l.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := eventually(func() error {
		if syscall.Kill(command, 0) == nil {
			return errors.New("it works on")
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	if err := l.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	l.want(exitLost)
}

func TestLockRunsTheCommandAgainAtTheNextWin(t *testing.T) {
	b := newBench(t)
	l := b.lock("a", "--ttl", "6s", "--restart", "--", "sh", "-c", "echo $INTERREX_LEASE_TOKEN; exec sleep 1000")
	first := l.line()
	if _, err := b.leases.Revoke(t.Context(), interrex.RevokeRequest{Key: mustKey("a"), Force: true}); err != nil {
		t.Fatal(err)
	}
	if second := l.line(); second == first {
		t.Errorf("the command ran again under the token %s", first)
	}
	if err := l.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	l.want(exitSignal + 15)
}

func TestALockThatWasToldToEndDoesNotCampaignAgain(t *testing.T) {
	b := newBench(t)
	for sig, ends := range map[syscall.Signal]bool{syscall.SIGTERM: true, syscall.SIGHUP: false} {
		l := b.lock("a", "--ttl", "6s", "--restart", "--", "sh", "-c", `trap "echo told" TERM HUP; echo up; while :; do sleep 0.01; done`)
		l.line()
		if err := l.cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		if got := l.line(); got != "told" {
			t.Fatalf("the command says %q", got)
		}
		if _, err := b.leases.Revoke(t.Context(), interrex.RevokeRequest{Key: mustKey("a"), Force: true}); err != nil {
			t.Fatal(err)
		}
		if ends {
			l.silence()
			l.want(exitLost)
			continue
		}
		for l.line() != "up" { // its TERM after the loss
		}
		if err := l.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		l.silence()
		l.want(-1)
	}
}

func TestTheEndOfALockHasItsCode(t *testing.T) {
	failed := errors.New("no reaper")
	for _, end := range []struct {
		wait time.Duration
		err  error
		want error
		hint bool // how to go on is said
	}{
		{-1, nil, nil, false},
		{-1, exit(7), exit(7), false},
		{-1, fmt.Errorf("%w: after it", exit(exitLost)), exit(exitLost), false},
		{-1, failed, exit(exitOurs), false},
		{0, interrex.Errorf(interrex.ErrHeld, "x"), exit(exitWaitedOut), false},
		{time.Second, interrex.Errorf(interrex.ErrHeld, "x"), exit(exitWaitedOut), false},
		{time.Second, interrex.Errorf(interrex.ErrUnavailable, "x"), exit(exitWaitedOut), false},
		{time.Second, interrex.Errorf(interrex.ErrOutcomeUnknown, "x"), exit(exitWaitedOut), true},
		{time.Second, interrex.Errorf(interrex.ErrDenied, "x"), exit(exitOurs), false},
		{0, interrex.Errorf(interrex.ErrUnavailable, "x"), exit(exitWaitedOut), false},
		{0, interrex.Errorf(interrex.ErrOutcomeUnknown, "x"), exit(exitWaitedOut), true},
		{-1, interrex.Errorf(interrex.ErrNoLeader, "x"), exit(exitOurs), false},
	} {
		said := newSpoken()
		l := &lock{app: &app{messages: said}, key: mustKey("a"), wait: end.wait}
		if got := l.ended(end.err); got != end.want {
			t.Errorf("%v after a wait of %s: %v, want %v", end.err, end.wait, got, end.want)
		}
		if hint := strings.Contains(said.String(), "'interrex lease revoke default/a --force' ends it"); hint != end.hint {
			t.Errorf("%v: it says %q", end.err, said)
		}
	}
	if err := (&lock{}).ended(interrex.Errorf(interrex.ErrInvalid, "x")); !errors.Is(err, interrex.ErrInvalid) {
		t.Errorf("what is invalid ends with %v", err)
	}
}

func TestLocksOfOneHoldersNameAreTwoHolders(t *testing.T) {
	t.Setenv("INTERREX_HOLDER", "ann")
	one, other := holderOfLock(), holderOfLock()
	if one == other || !strings.HasPrefix(one, "ann/") || !strings.HasPrefix(other, "ann/") {
		t.Errorf("they hold as %q and %q", one, other)
	}
}

func TestLockPassesStandardInputThrough(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := program("lock", "a", "--", "cat")
	c.Env = append(c.Env, "INTERREX_ADDR=http://"+b.addr)
	c.Stdin = strings.NewReader("a line\n")
	stop := context.AfterFunc(ctx, func() { _ = c.Process.Kill() })
	defer stop()
	if out, err := c.Output(); string(out) != "a line\n" || err != nil {
		t.Errorf("%q, %v", out, err)
	}
}

func TestLockAndItsCommandIgnoreWhatWasIgnoredBefore(t *testing.T) {
	b := newBench(t)
	for names, signals := range map[string][]syscall.Signal{
		"HUP":      {syscall.SIGHUP},
		"INT QUIT": {syscall.SIGINT, syscall.SIGQUIT},
	} {
		path := fifo(t)
		c := program("lock", "a", "--", "sh", "-c", "grep SigIgn /proc/$$/status; read line <$0; exit 5", path)
		self := filepath.Join(t.TempDir(), "interrex") // the name tells the program from the test
		if err := os.Symlink(c.Path, self); err != nil {
			t.Fatal(err)
		}
		c.Path = "/bin/sh"
		c.Args = append([]string{"sh", "-c", "trap '' " + names + `; exec "$0" "$@"`, self}, c.Args[1:]...)
		l := b.start(c)
		_, mask, _ := strings.Cut(l.line(), ":")
		ignored, err := strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		for _, sig := range signals {
			if ignored&(1<<(sig-1)) == 0 {
				t.Errorf("the command does not ignore %s", sig)
			}
			if err := l.cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
		}
		letGo(t, path)
		l.want(5)
	}
}
