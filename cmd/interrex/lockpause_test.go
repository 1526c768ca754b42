package main

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/interrex/interrex/internal/execution"
)

// paused is a lock whose command reads from a file, and the pid of its reaper.
func (b *bench) paused(t *testing.T, ttl, path string) (l *locking, reaper int) {
	t.Helper()
	l = b.lock("a", "--ttl", ttl, "--", "sh", "-c", `echo up; cat $0; exit 7`, path)
	l.line()
	for _, p := range execution.Descendants(l.cmd.Process.Pid) {
		if p.Parent == l.cmd.Process.Pid {
			return l, p.PID
		}
	}
	t.Fatal("there is no reaper")
	return nil, 0
}

func signalAll(t *testing.T, sig syscall.Signal, pids ...int) {
	t.Helper()
	for _, pid := range pids {
		if err := syscall.Kill(pid, sig); err != nil {
			t.Fatal(err)
		}
	}
}

// runsOut waits until the lease has run out.
func (b *bench) runsOut() {
	b.t.Helper()
	if err := eventually(func() error { return b.free("a") }); err != nil {
		b.t.Fatal(err)
	}
}

func TestACommandThatEndedInTimeKeepsItsCodeWhateverPauseFollows(t *testing.T) {
	b, path := newBench(t), fifo(t)
	l, _ := b.paused(t, "6s", path)
	signalAll(t, syscall.SIGSTOP, l.cmd.Process.Pid)
	letGo(t, path)
	b.runsOut()
	signalAll(t, syscall.SIGCONT, l.cmd.Process.Pid)
	l.want(7)
}

// Neither lock nor its reaper could end the command or saw when it ended: it may have
// been running while another holder held the lease.
func TestACommandThatIsFoundEndedAfterAPauseHasLostItsLease(t *testing.T) {
	b, path := newBench(t), fifo(t)
	l, reaper := b.paused(t, "6s", path)
	signalAll(t, syscall.SIGSTOP, l.cmd.Process.Pid, reaper)
	b.runsOut()
	letGo(t, path)
	if err := eventually(func() error {
		if len(execution.Descendants(reaper)) > 0 {
			return errors.New("the command lives")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	signalAll(t, syscall.SIGCONT, reaper, l.cmd.Process.Pid)
	l.want(exitLost)
	if said := l.stderr.String(); !strings.Contains(said, "was not extended in time") {
		t.Errorf("it says %s", said)
	}
}

func TestACommandThatWasPausedWithItsLockIsKilled(t *testing.T) {
	b, path := newBench(t), fifo(t)
	l, reaper := b.paused(t, "6s", path)
	all := append(pids(execution.Descendants(reaper)), reaper, l.cmd.Process.Pid) // whom the reaper kills goes on before it
	signalAll(t, syscall.SIGSTOP, all...)
	b.runsOut()
	signalAll(t, syscall.SIGCONT, all...)
	l.silence()
	l.want(exitLost)
}

func pids(of []execution.Process) (all []int) {
	for _, p := range of {
		all = append(all, p.PID)
	}
	return all
}
