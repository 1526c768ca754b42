package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal opens a new terminal: our end, and the end of the programs that run in it.
func terminal(t *testing.T) (ours, theirs *os.File) {
	t.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("there are no terminals: %v", err)
	}
	t.Cleanup(func() { _ = ours.Close() })
	var number int
	raw, err := ours.SyscallConn()
	if err == nil {
		_ = raw.Control(func(fd uintptr) {
			if err = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); err == nil {
				number, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
			}
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	theirs, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return ours, theirs
}

// The command reads from the terminal while it runs, and the shell afterwards.
func TestLockLendsTheTerminalToItsCommand(t *testing.T) {
	b := newBench(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	interrex := filepath.Join(t.TempDir(), "interrex")
	if err := os.Symlink(self, interrex); err != nil {
		t.Fatal(err)
	}
	ours, theirs := terminal(t)
	c := exec.Command("sh", "-c", `"$0" lock a -- sh -c 'read x; echo "command $x."'; read x; echo "shell $x."`, interrex)
	c.Env = append(program().Env, "INTERREX_ADDR=http://"+b.addr)
	c.Stdin, c.Stdout, c.Stderr = theirs, theirs, theirs
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	_ = theirs.Close()
	late := time.AfterFunc(patience, func() {
		_ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
		_ = ours.Close()
	})
	defer late.Stop()
	shown := bufio.NewReader(ours)
	for _, who := range []string{"command", "shell"} {
		if _, err := ours.WriteString("for the " + who + "\n"); err != nil {
			t.Fatal(err)
		}
		for line, want := "", who+" for the "+who+"."; !strings.Contains(line, want); {
			if line, err = shown.ReadString('\n'); err != nil {
				t.Fatalf("the %s does not read what is typed: %v", who, err)
			}
		}
	}
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
}
