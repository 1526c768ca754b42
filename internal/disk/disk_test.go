package disk

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/juju/clock"
)

// testDisk is a disk that is closed with the test.
func testDisk(t *testing.T, timeout time.Duration) *Disk {
	d := New(clock.WallClock, timeout)
	t.Cleanup(func() {
		d.Close()
		<-d.Drained()
		d.End()
	})
	return d
}

func TestAWriteThatHangsIsReportedAtItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := testDisk(t, 5*time.Second)
		stuck := make(chan struct{})
		start := time.Now()
		err := d.Write("append", func() error { <-stuck; return nil })
		if !errors.Is(err, ErrHung) || time.Since(start) != 5*time.Second {
			t.Fatalf("after %s: %v", time.Since(start), err)
		}
		if err := d.Write("append", func() error { return nil }); !errors.Is(err, ErrHung) {
			t.Fatalf("a write after one that hangs: %v", err)
		}
		if s := d.State(); !errors.Is(s.Err, ErrHung) {
			t.Errorf("the state is %+v", s)
		}
		select {
		case <-d.Drained():
			t.Fatal("drained while a write is under way")
		case <-time.After(time.Minute):
		}
		close(stuck)
		<-d.Drained()
	})
}

func TestADiskIsSlowAfterSeveralSlowWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := testDisk(t, 5*time.Second)
		write := func(took time.Duration) {
			t.Helper()
			if err := d.Write("append", func() error { time.Sleep(took); return nil }); err != nil {
				t.Error(err)
			}
		}
		for i := range slowWrites {
			if d.State().Slow {
				t.Fatalf("slow after %d slow writes", i)
			}
			write(slowWrite)
			write(slowWrite - time.Millisecond)
		}
		if s := d.State(); !s.Slow || s.Err != nil || s.Writing != 0 {
			t.Fatalf("%+v", s)
		}
		write(slowWrite)
		if !d.State().Slow {
			t.Error("one more slow write, and it is not slow")
		}
		go write(time.Second)
		time.Sleep(400 * time.Millisecond)
		if s := d.State(); s.Writing != 400*time.Millisecond {
			t.Errorf("while a write is under way: %+v", s)
		}
		time.Sleep(slowWithin)
		if s := d.State(); s.Slow || s.Writing != 0 {
			t.Errorf("a minute later: %+v", s)
		}
	})
}

func TestTheFirstFailureIsFinal(t *testing.T) {
	d := testDisk(t, 0)
	if err := d.Write("append", func() error { return syscall.ENOSPC }); !errors.Is(err, ErrFull) {
		t.Fatal(err)
	}
	<-d.Failed()
	ran := false
	if err := d.Write("append", func() error { ran = true; return nil }); !errors.Is(err, ErrFull) || ran {
		t.Fatalf("ran %v: %v", ran, err)
	}
}

func TestFailedWritesAreClassified(t *testing.T) {
	for _, c := range []struct{ from, is error }{
		{&os.PathError{Op: "write", Err: syscall.ENOSPC}, ErrFull},
		{syscall.EDQUOT, ErrFull},
		{syscall.EFBIG, ErrFull},
		{syscall.EIO, ErrFailed},
		{errors.New("non-monotonic"), ErrFailed},
		{ErrHung, ErrHung},
		{ErrClosed, ErrClosed},
	} {
		got := Classify("append", c.from)
		if !errors.Is(got, c.is) || !errors.Is(got, c.from) {
			t.Errorf("%v: %v", c.from, got)
		}
	}
	if err := Classify("append", nil); err != nil {
		t.Error(err)
	}
}

func TestNamedFindsFilesInAnyDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "with [a-b] * and ?")
	if got, err := Named(dir, ".wal"); got != nil || err != nil {
		t.Errorf("without the directory: %q, %v", got, err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"2.wal", "1.wal", "1.wal.tmp"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for suffix, want := range map[string][]string{".wal": {"1.wal", "2.wal"}, "": {"1.wal", "1.wal.tmp", "2.wal"}} {
		for i := range want {
			want[i] = filepath.Join(dir, want[i])
		}
		if got, err := Named(dir, suffix); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %q, %v", suffix, got, err)
		}
	}
	if _, err := Named(filepath.Join(dir, "1.wal"), ""); err == nil {
		t.Error("a file has files")
	}
}
