package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// reaper is a second process that leads the process group in which the command
// runs. It kills the whole group, itself too, when this process has ended
// without a word; and as long as it lives nobody else gets the group's number.
type reaper struct {
	process *exec.Cmd
	words   io.WriteCloser // "done" ends it politely, the end of the pipe does not
	says    *bufio.Reader
	gone    chan struct{} // closed when it has ended
	close   func()
}

const (
	reaperName  = "lock-reaper"
	reaperReady = "ready\n"
	reaperDone  = "done\n"
)

// reaperTimeout is how long a reaper may take to come up.
const reaperTimeout = 10 * time.Second

// startReaper starts one; ready waits for it.
func startReaper() (*reaper, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("cannot find this program: %w", err)
	}
	r := &reaper{process: exec.Command(self), gone: make(chan struct{})}
	r.process.Args = []string{"interrex", reaperName}
	r.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	r.process.Stderr = os.Stderr
	if r.words, err = r.process.StdinPipe(); err != nil {
		return nil, fmt.Errorf("cannot start the reaper: %w", err)
	}
	out, err := r.process.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("cannot start the reaper: %w", err)
	}
	if err := r.process.Start(); err != nil {
		return nil, fmt.Errorf("cannot start the reaper: %w", err)
	}
	r.says = bufio.NewReader(out)
	r.close = sync.OnceFunc(r.end)
	return r, nil
}

// ready returns once the reaper hears no signal but KILL, and watches over
// this process.
func (r *reaper) ready() error {
	late := time.AfterFunc(reaperTimeout, func() { _ = r.process.Process.Kill() })
	line, err := r.says.ReadString('\n')
	if !late.Stop() || line != reaperReady {
		return fmt.Errorf("the reaper did not come up: it says %q: %w", line, err)
	}
	go func() {
		// It says nothing more: this waits for its end.
		_, _ = io.Copy(io.Discard, r.says)
		close(r.gone)
	}()
	return nil
}

// start starts the command in the reaper's group, which becomes the foreground
// group of the terminal, or it could not read. The channel gives its end.
func (r *reaper) start(c *exec.Cmd) (<-chan error, error) {
	group := r.process.Process.Pid
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pgid: group}
	if inForeground(unix.Getpgrp()) {
		setForeground(group)
	}
	if err := c.Start(); err != nil {
		return nil, err
	}
	done := make(chan error, 1)
	go func() { done <- c.Wait() }()
	return done, nil
}

// signal sends to the whole group. That it has gone already is no error.
func (r *reaper) signal(sig syscall.Signal) {
	_ = syscall.Kill(-r.process.Process.Pid, sig)
}

// end takes the terminal back, ends the reaper, and waits for it.
func (r *reaper) end() {
	if inForeground(r.process.Process.Pid) {
		setForeground(unix.Getpgrp())
	}
	// One that has been killed neither reads nor ends well.
	_, _ = io.WriteString(r.words, reaperDone)
	_ = r.words.Close()
	_ = r.process.Wait()
}

// inForeground reports whether a process group is the foreground group of the
// terminal that standard input is.
func inForeground(group int) bool {
	front, err := unix.IoctlGetInt(int(os.Stdin.Fd()), unix.TIOCGPGRP)
	return err == nil && front == group
}

// setForeground gives the terminal to a process group. A background group is
// stopped by SIGTTOU when it does that, unless it ignores the signal.
func setForeground(group int) {
	signal.Ignore(syscall.SIGTTOU)
	defer signal.Reset(syscall.SIGTTOU)
	// Without the terminal a command still runs: it is stopped if it reads.
	_ = unix.IoctlSetPointerInt(int(os.Stdin.Fd()), unix.TIOCSPGRP, group)
}

// newReaper is the hidden command that is the reaper.
func newReaper() *cobra.Command {
	return &cobra.Command{
		Use:    reaperName,
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			// What is sent to the group is the command's.
			signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1,
				syscall.SIGUSR2, syscall.SIGALRM, syscall.SIGPIPE, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU)
			if _, err := io.WriteString(os.Stdout, reaperReady); err != nil {
				return err
			}
			word, _ := io.ReadAll(io.LimitReader(os.Stdin, int64(len(reaperDone))))
			if string(word) == reaperDone {
				return nil
			}
			return syscall.Kill(0, syscall.SIGKILL)
		},
	}
}
