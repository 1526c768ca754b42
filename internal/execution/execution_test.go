package execution

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/interrex/interrex"
)

// patience bounds every wait of these tests.
const patience = time.Minute

// TestMain makes a reaper of this program when it is started as one.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == ReaperName {
		if err := Serve(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func reaperProcess(t *testing.T) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return exec.Command(self, ReaperName)
}

// tell sends a reaper its orders, and returns what it says until it ends.
func tell(t *testing.T, orders ...order) (said []string) {
	t.Helper()
	c := reaperProcess(t)
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
	e := &execution{Command: Command{TTL: interrex.MaxTTL, Held: stopped{}}, reaper: &Reaper{root: -1}, lose: make(chan struct{})}
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
	r := &Reaper{pipe: in}
	r.extend(held{deadline: time.Now().Add(24 * time.Hour)}, 4*time.Hour)
	var told order
	if r.endsAt == 0 {
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
		r := &Reaper{root: -1, endsAt: known} // no process is left
		e := &execution{Command: Command{TTL: interrex.DefaultTTL, Leftover: Wait, Held: stopped{}}, reaper: r, lose: make(chan struct{})}
		e.check() // before the exit is reported
		e.handle(report{Event: commandExited, At: at})
		if e.result.Lost != lost {
			t.Errorf("it ended at %s, and had to by %s: lost: %v", at, known, e.result.Lost)
		}
		if e.kill == nil {
			t.Error("what is there is not ended")
		}
	}
}
