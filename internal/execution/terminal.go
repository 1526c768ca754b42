package execution

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// inForeground reports whether a process group is the foreground group of the
// terminal that standard input is.
func inForeground(group int) bool {
	front, err := unix.IoctlGetInt(int(os.Stdin.Fd()), unix.TIOCGPGRP)
	return err == nil && front == group
}

// setForeground makes a process group the foreground group of a terminal. A
// background group that does so is stopped by SIGTTOU, unless it ignores it.
func setForeground(terminal *os.File, group int) {
	signal.Ignore(syscall.SIGTTOU)
	defer signal.Reset(syscall.SIGTTOU)
	// A command without the terminal still runs: it is stopped if it reads.
	_ = unix.IoctlSetPointerInt(int(terminal.Fd()), unix.TIOCSPGRP, group)
}
