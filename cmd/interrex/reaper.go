package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/hold"
)

// reaper is a second process, which starts the command and inherits everything
// that comes of it: it says when the last of that has ended, and kills all of it
// when this process has ended without a word, or lets the time pass by which the
// command must have ended, as when it is stopped. It is not in the command's
// process group, which the command may kill. When it has been killed all the same,
// this process inherits what it leaves.
type reaper struct {
	process *exec.Cmd
	root    int           // the process that inherits what comes of the command
	others  []int         // the children that this process had before
	group   int           // of the command, once that is started
	known   time.Duration // the end that it has been told: see order
	pipe    *os.File      // takes orders: its end without an order to end is this process's end
	events  chan report   // closed when the reaper has ended
	close   func()
}

const reaperName = "lock-reaper"

// order is what a reaper is told: to start a command, to kill it at its end, which
// replaces the one before, or to end itself and leave what is there alone.
type order struct {
	Path string   `json:"path,omitempty"`
	Args []string `json:"args,omitempty"`
	Env  []string `json:"env,omitempty"`
	// Front is the group that leaves the foreground of the terminal to the
	// command; 0: none.
	Front int           `json:"front,omitempty"`
	End   time.Duration `json:"end,omitempty"` // see sinceBoot
	Done  bool          `json:"done,omitempty"`
}

// report is what a reaper says.
type report struct {
	Event  string        `json:"event"`
	Number uint32        `json:"number,omitempty"`
	At     time.Duration `json:"at"` // see sinceBoot
}

// The events of a reaper.
const (
	reaperReady    = "ready"
	commandStarted = "started" // its pid, which is its group
	commandFailed  = "failed"  // to start: an errno
	commandStopped = "stopped" // by a signal: its number
	commandExited  = "exited"  // a wait status
	endPassed      = "late"    // everything is killed, or nothing was started
	nothingLeft    = "empty"   // no process that came of the command
)

// reaperTimeout is how long a reaper may take to come up, and to start the
// command.
const reaperTimeout = 10 * time.Second

// errTooLate says that the command was not started, because its end had passed.
var errTooLate = errors.New("the lease has run out before the command was started")

// startReaper starts one; ready waits for it.
func startReaper() (*reaper, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("cannot find this program: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("cannot inherit what a reaper leaves: %w", err)
	}
	r := &reaper{process: exec.Command(self), events: make(chan report)}
	for _, p := range descendants(os.Getpid()) {
		r.others = append(r.others, p.pid)
	}
	r.process.Args = []string{"interrex", reaperName}
	r.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	r.process.Stderr = os.Stderr
	r.process.ExtraFiles = []*os.File{os.Stdin, os.Stdout, os.Stderr} // the command's
	in, pipe, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("cannot start the reaper: %w", err)
	}
	defer func() { _ = in.Close() }() // the reaper has its own
	r.process.Stdin, r.pipe = in, pipe
	out, err := r.process.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("cannot start the reaper: %w", err)
	}
	if err := r.process.Start(); err != nil {
		return nil, fmt.Errorf("cannot start the reaper: %w", err)
	}
	r.root = r.process.Process.Pid
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

// start starts the command, in the foreground of the terminal if this process is
// there.
func (r *reaper) start(path string, args, env []string) error {
	told := order{Path: path, Args: args, Env: env}
	if group := unix.Getpgrp(); inForeground(group) {
		told.Front = group
	}
	if err := r.order(told, reaperTimeout); err != nil {
		return fmt.Errorf("cannot reach the reaper: %w", err)
	}
	switch said := r.hear(); said.Event {
	case commandStarted:
		r.group = int(said.Number)
		return nil
	case commandFailed:
		return syscall.Errno(said.Number)
	case endPassed:
		return errTooLate
	}
	r.stop()
	r.inherit()
	extinguish(r.left) // it may have been started in this very moment
	return errors.New("the reaper does not start it")
}

// order returns an order, for which a reaper that is stopped may leave no room.
func (r *reaper) order(told order, within time.Duration) error {
	_ = r.pipe.SetWriteDeadline(time.Now().Add(within)) // a pipe has one
	return json.NewEncoder(r.pipe).Encode(told)
}

// extend tells by when the command must have ended, half a margin before the
// deadline, when that has moved by more than an eighth of the margin. When this
// process is stopped meanwhile, the time is too early. A reaper that does not
// hear of it kills too early as well.
func (r *reaper) extend(held interrex.Held, margin time.Duration) {
	at := sinceBoot() + time.Until(held.Deadline()) - margin/2
	if at > r.known+margin/8 && r.order(order{End: at}, time.Second) == nil {
		r.known = at
	}
}

// sinceBoot is a clock that two processes share. It goes on while the machine
// sleeps, where the system has such a one.
func sinceBoot() time.Duration { return hold.SystemClock().Now() }

// signal sends to the group of a command that lives.
func (r *reaper) signal(sig syscall.Signal) {
	_ = syscall.Kill(-r.group, sig)
}

// signalAll sends to all that came of the command, also what has left the group.
// The number of a group in which nobody is left may be somebody else's.
func (r *reaper) signalAll(sig syscall.Signal) {
	if len(r.inGroup()) > 0 {
		r.signal(sig)
	}
	for _, p := range r.left() {
		if p.group != r.group {
			_ = syscall.Kill(p.pid, sig)
		}
	}
}

// left lists what came of the command and lives.
func (r *reaper) left() []descendant { return descendants(r.root, r.others...) }

// inGroup lists who of that is in the command's group.
func (r *reaper) inGroup() []descendant {
	return slices.DeleteFunc(r.left(), func(p descendant) bool { return p.group != r.group })
}

// stop kills the reaper alone, which does not answer.
func (r *reaper) stop() { _ = r.process.Process.Kill() }

// inherit puts this process in the place of a reaper that has been killed.
func (r *reaper) inherit() {
	r.close()
	r.root = os.Getpid()
}

// end takes the terminal back, ends the reaper, and waits for it.
func (r *reaper) end() {
	if inForeground(r.group) {
		setForeground(os.Stdin, unix.Getpgrp())
	}
	// One that has been killed neither reads nor ends well.
	_ = r.order(order{Done: true}, reaperTimeout)
	_ = r.pipe.Close()
	_ = r.process.Wait()
}

// inForeground reports whether a process group is the foreground group of the
// terminal that standard input is.
func inForeground(group int) bool {
	front, err := unix.IoctlGetInt(int(os.Stdin.Fd()), unix.TIOCGPGRP)
	return err == nil && front == group
}

// setForeground returns a terminal to a process group. A background group is
// stopped by SIGTTOU when it does that, unless it ignores the signal.
func setForeground(terminal *os.File, group int) {
	signal.Ignore(syscall.SIGTTOU)
	defer signal.Reset(syscall.SIGTTOU)
	// Without the terminal a command still runs: it is stopped if it reads.
	_ = unix.IoctlSetPointerInt(int(terminal.Fd()), unix.TIOCSPGRP, group)
}
