package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/interrex/interrex"
)

// paused is a lock whose command reads from a file, and the pid of its reaper.
func (b *bench) paused(t *testing.T, ttl, path string) (l *locking, reaper int) {
	t.Helper()
	l = b.lock("a", "--ttl", ttl, "--", "sh", "-c", `echo up; cat $0; exit 7`, path)
	l.line()
	for _, p := range descendants(l.cmd.Process.Pid) {
		if p.parent == l.cmd.Process.Pid {
			return l, p.pid
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
	if err := letGo(path); err != nil {
		t.Fatal(err)
	}
	b.runsOut()
	signalAll(t, syscall.SIGCONT, l.cmd.Process.Pid)
	l.want(7)
}

// Nobody could end the command, and nobody saw when it ended: it may have worked
// when somebody else held the lease.
func TestACommandThatIsFoundEndedAfterAPauseHasLostItsLease(t *testing.T) {
	b, path := newBench(t), fifo(t)
	l, reaper := b.paused(t, "6s", path)
	signalAll(t, syscall.SIGSTOP, l.cmd.Process.Pid, reaper)
	b.runsOut()
	if err := letGo(path); err != nil {
		t.Fatal(err)
	}
	if err := eventually(func() error {
		if len(descendants(reaper)) > 0 {
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
	all := append([]int{reaper, l.cmd.Process.Pid}, pids(descendants(reaper))...)
	signalAll(t, syscall.SIGSTOP, all...)
	b.runsOut()
	signalAll(t, syscall.SIGCONT, all...)
	l.silence()
	l.want(exitLost)
}

func pids(of []descendant) (all []int) {
	for _, p := range of {
		all = append(all, p.pid)
	}
	return all
}

// tell sends a reaper its orders, and returns what it says until it ends.
func tell(t *testing.T, orders ...order) (said []string) {
	t.Helper()
	c := program(reaperName)
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = null.Close() }()
	c.ExtraFiles = []*os.File{null, null, null}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(patience, func() { _ = c.Process.Kill() })
	defer late.Stop()
	for _, o := range orders {
		if err := json.NewEncoder(in).Encode(o); err != nil {
			t.Fatal(err)
		}
	}
	for d := json.NewDecoder(out); ; {
		var r report
		if d.Decode(&r) != nil {
			break
		}
		if said = append(said, r.Event); r.Event == endPassed || r.Event == nothingLeft {
			_ = json.NewEncoder(in).Encode(order{Done: true})
		}
	}
	_ = in.Close()
	_ = c.Wait()
	return said
}

func TestNoCommandIsStartedAfterItsEnd(t *testing.T) {
	t.Parallel()
	for after, want := range map[time.Duration]string{-time.Nanosecond: "ready late", time.Hour: "ready started exited empty"} {
		file := filepath.Join(t.TempDir(), "file")
		said := tell(t,
			order{End: sinceBoot() + after},
			order{Path: "/bin/sh", Args: []string{"sh", "-c", `echo it runs >"$0"`, file}})
		if got := strings.Join(said, " "); got != want {
			t.Errorf("%s after: the reaper says %q, want %q", after, got, want)
		}
		if _, err := os.Stat(file); (err == nil) != (after > 0) {
			t.Errorf("%s after: the command's file: %v", after, err)
		}
	}
}

// stopped is a hold whose process was stopped until it was lost.
type stopped struct{ interrex.Held }

func (stopped) Check() error        { return interrex.ErrNotHeld }
func (stopped) Deadline() time.Time { return time.Now() } // half a margin later than the command's end

func TestACommandWhoseEndHasPassedIsKilledAtOnce(t *testing.T) {
	e := &execution{lock: &lock{ttl: interrex.MaxTTL}, held: stopped{}, reaper: &reaper{root: -1}, lose: make(chan struct{})}
	e.check()
	select {
	case <-e.kill:
	case <-time.After(patience):
		t.Error("it is left its time")
	}
}

// held is a hold with a deadline.
type held struct {
	interrex.Held
	deadline time.Time
}

func (h held) Deadline() time.Time { return h.deadline }

func TestTheEndOfACommandIsHalfAMarginBeforeTheDeadline(t *testing.T) {
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = out.Close() }()
	defer func() { _ = in.Close() }()
	r := &reaper{pipe: in}
	r.extend(held{deadline: time.Now().Add(24 * time.Hour)}, 4*time.Hour)
	var told order
	if r.known == 0 {
		t.Fatal("nothing is told")
	}
	if err := json.NewDecoder(out).Decode(&told); err != nil {
		t.Fatal(err)
	}
	want := sinceBoot() + 22*time.Hour
	if d := told.End - want; d.Abs() > time.Hour {
		t.Errorf("it is told %s, want %s", told.End, want)
	}
}

func TestOnlyAnEndInTimeKeepsItsCode(t *testing.T) {
	const known = time.Minute
	for at, lost := range map[time.Duration]bool{known: false, known + 1: true} {
		r := &reaper{root: -1, known: known} // nobody is left
		e := &execution{lock: &lock{ttl: interrex.DefaultTTL, leave: leftoverWait}, held: stopped{}, reaper: r, lose: make(chan struct{})}
		e.check() // before it has heard of the end
		e.hear(report{Event: commandExited, At: at})
		if e.lost != lost {
			t.Errorf("it ended at %s, and had to by %s: lost: %v", at, known, e.lost)
		}
		if e.kill == nil {
			t.Error("what is there is not ended")
		}
	}
}
