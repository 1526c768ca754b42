package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// reaper is a second process, which starts the command, leads its process group
// and inherits everything that comes of it: it says when the last of that has
// ended. It kills all of it, itself too, when this process has ended without a
// word; and as long as it lives nobody else gets the group's number.
type reaper struct {
	process *exec.Cmd
	orders  *json.Encoder
	pipe    io.Closer   // of orders: its end without an order to end is this process's end
	events  chan report // closed when the reaper has ended
	close   func()
}

const reaperName = "lock-reaper"

// order is what a reaper is told: to start a command, or to end and leave what is
// there alone.
type order struct {
	Path string   `json:"path,omitempty"`
	Args []string `json:"args,omitempty"`
	Env  []string `json:"env,omitempty"`
	Done bool     `json:"done,omitempty"`
}

// report is what a reaper says.
type report struct {
	Event  string `json:"event"`
	Number uint32 `json:"number,omitempty"`
}

// The events of a reaper.
const (
	reaperReady    = "ready"
	commandStarted = "started"
	commandFailed  = "failed"  // to start: an errno
	commandStopped = "stopped" // by a signal: its number
	commandExited  = "exited"  // a wait status
	nothingLeft    = "empty"   // no process that came of the command
)

// reaperTimeout is how long a reaper may take to come up, and to start the
// command.
const reaperTimeout = 10 * time.Second

// startReaper starts one; ready waits for it.
func startReaper() (*reaper, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("cannot find this program: %w", err)
	}
	r := &reaper{process: exec.Command(self), events: make(chan report)}
	r.process.Args = []string{"interrex", reaperName}
	r.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	r.process.Stderr = os.Stderr
	r.process.ExtraFiles = []*os.File{os.Stdin, os.Stdout, os.Stderr} // the command's
	in, err := r.process.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("cannot start the reaper: %w", err)
	}
	out, err := r.process.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("cannot start the reaper: %w", err)
	}
	if err := r.process.Start(); err != nil {
		return nil, fmt.Errorf("cannot start the reaper: %w", err)
	}
	r.orders, r.pipe = json.NewEncoder(in), in
	over := make(chan struct{})
	go r.listen(out, over)
	r.close = sync.OnceFunc(func() {
		close(over)
		r.end()
	})
	return r, nil
}

// listen hands on what the reaper says, until it has ended.
func (r *reaper) listen(out io.Reader, over <-chan struct{}) {
	defer close(r.events)
	for in := json.NewDecoder(out); ; {
		var said report
		if in.Decode(&said) != nil {
			return
		}
		select {
		case r.events <- said:
		case <-over:
			return
		}
	}
}

// ready returns once the reaper ends with nothing but KILL, and watches over
// this process.
func (r *reaper) ready() error {
	if said := r.hear(); said.Event != reaperReady {
		return fmt.Errorf("the reaper did not come up: it says %q", said.Event)
	}
	return nil
}

// hear waits for the next event; one without a name when there is none in time.
func (r *reaper) hear() report {
	late := time.NewTimer(reaperTimeout)
	defer late.Stop()
	select {
	case said := <-r.events:
		return said
	case <-late.C:
		return report{}
	}
}

// start starts the command in the reaper's group, which becomes the foreground
// group of the terminal, or it could not read.
func (r *reaper) start(path string, args, env []string) error {
	if inForeground(unix.Getpgrp()) {
		setForeground(r.group())
	}
	if err := r.orders.Encode(order{Path: path, Args: args, Env: env}); err != nil {
		return fmt.Errorf("cannot reach the reaper: %w", err)
	}
	switch said := r.hear(); said.Event {
	case commandStarted:
		return nil
	case commandFailed:
		return syscall.Errno(said.Number)
	}
	return errors.New("the reaper does not start it")
}

func (r *reaper) group() int { return r.process.Process.Pid }

// signal sends to the whole group. That it has gone already is no error.
func (r *reaper) signal(sig syscall.Signal) {
	_ = syscall.Kill(-r.group(), sig)
}

// signalAll sends to all that came of the command, also what has left the group.
func (r *reaper) signalAll(sig syscall.Signal) {
	r.signal(sig)
	for _, p := range descendants(r.group()) {
		if p.group != r.group() {
			_ = syscall.Kill(p.pid, sig)
		}
	}
}

// kill kills all that came of the command; the reaper stays, to say when it is
// gone.
func (r *reaper) kill() { killAll(r.group()) }

// left names what came of the command and lives.
func (r *reaper) left() []descendant { return descendants(r.group()) }

// bury kills the group of a reaper that has ended, and waits until it is gone.
func (r *reaper) bury() {
	r.signal(syscall.SIGKILL)
	r.close()
	for range killRounds {
		if syscall.Kill(-r.group(), 0) != nil {
			return
		}
		time.Sleep(killPause)
	}
}

// end takes the terminal back, ends the reaper, and waits for it.
func (r *reaper) end() {
	if inForeground(r.group()) {
		setForeground(unix.Getpgrp())
	}
	// One that has been killed neither reads nor ends well.
	_ = r.orders.Encode(order{Done: true})
	_ = r.pipe.Close()
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
