package execution

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/hold"
)

// Reaper is the second process as this one sees it. It reports when the last
// process that came of the command has ended, and kills all of them when this
// process has ended without saying that it is done, or has not moved the command's
// end in time, as when it is stopped. It is not in the command's process group,
// which the command may kill. If it is killed all the same, this process inherits
// what it leaves.
type Reaper struct {
	process *exec.Cmd
	root    int           // the process that inherits what comes of the command
	others  []int         // the children that this process had before
	group   int           // of the command, once it is started
	endsAt  time.Duration // the command's end, as the reaper was told: see order
	pipe    *os.File      // takes orders; when it closes without an order that all is done, this process has ended
	events  chan report   // closed when the reaper has ended
	close   func()
}

// timeout is how long a reaper may take to come up, and to start the command.
const timeout = 10 * time.Second

// Start starts a reaper: this program, whose command ReaperName calls Serve. Run
// waits until it is up.
func Start() (*Reaper, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("cannot find this program: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("cannot inherit what a reaper leaves: %w", err)
	}
	r := &Reaper{process: exec.Command(self), events: make(chan report)}
	for _, p := range Descendants(os.Getpid()) {
		r.others = append(r.others, p.PID)
	}
	r.process.Args = []string{"interrex", ReaperName}
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

// Close takes the terminal back, ends the reaper, and waits for it. Processes that
// it still watches over stay.
func (r *Reaper) Close() { r.close() }

// listen delivers the reaper's reports, until it has ended.
func (r *Reaper) listen(out io.Reader, over <-chan struct{}) {
	defer close(r.events)
	for in := json.NewDecoder(out); ; {
		var next report
		if in.Decode(&next) != nil {
			return
		}
		select {
		case r.events <- next:
		case <-over:
			return
		}
	}
}

// ready returns once nothing but KILL ends the reaper, and it watches over this
// process.
func (r *Reaper) ready() error {
	if next := r.next(); next.Event != reaperReady {
		return fmt.Errorf("the reaper did not come up: its report is %q", next.Event)
	}
	return nil
}

// next waits for the next report; it returns an empty one after the timeout.
func (r *Reaper) next() report {
	late := time.NewTimer(timeout)
	defer late.Stop()
	select {
	case next := <-r.events:
		return next
	case <-late.C:
		return report{}
	}
}

// start starts the command, in the foreground of the terminal if this process is
// there.
func (r *Reaper) start(path string, args, env []string) error {
	o := order{Path: path, Args: args, Env: env}
	if group := unix.Getpgrp(); inForeground(group) {
		o.Front = group
	}
	if err := r.send(o, timeout); err != nil {
		return StartError{fmt.Errorf("cannot reach the reaper: %w", err)}
	}
	switch next := r.next(); next.Event {
	case commandStarted:
		r.group = int(next.Number)
		return nil
	case commandFailed:
		return StartError{syscall.Errno(next.Number)}
	case endPassed:
		return ErrLost
	}
	r.kill()
	r.inherit()
	extinguish(r.left) // it may just have been started
	return StartError{errors.New("the reaper did not respond")}
}

// send writes an order, for which the pipe of a stopped reaper may have no room.
func (r *Reaper) send(o order, within time.Duration) error {
	_ = r.pipe.SetWriteDeadline(time.Now().Add(within)) // a pipe supports it
	return json.NewEncoder(r.pipe).Encode(o)
}

// extend tells the reaper by when the command must have ended, half a margin before
// the deadline, once that has moved by more than an eighth of the margin. If this
// process is stopped within extend, or the order does not arrive, the reaper kills
// too early, never too late.
func (r *Reaper) extend(held interrex.Held, margin time.Duration) {
	at := sinceBoot() + time.Until(held.Deadline()) - margin/2
	if at > r.endsAt+margin/8 && r.send(order{End: at}, time.Second) == nil {
		r.endsAt = at
	}
}

// sinceBoot is a clock that both processes share. Where the system has one that
// does, it runs while the machine sleeps.
func sinceBoot() time.Duration { return hold.SystemClock().Now() }

// signal sends a signal to the group of a running command.
func (r *Reaper) signal(sig syscall.Signal) {
	_ = syscall.Kill(-r.group, sig)
}

// signalAll sends a signal to everything that came of the command, also to what has
// left its group. The number of an empty group may by now be another group's.
func (r *Reaper) signalAll(sig syscall.Signal) {
	if len(r.inGroup()) > 0 {
		r.signal(sig)
	}
	for _, p := range r.left() {
		if p.Group != r.group {
			_ = syscall.Kill(p.PID, sig)
		}
	}
}

// left lists the running processes that came of the command.
func (r *Reaper) left() []Process { return Descendants(r.root, r.others...) }

// inGroup lists those of left that are in the command's group.
func (r *Reaper) inGroup() []Process {
	return slices.DeleteFunc(r.left(), func(p Process) bool { return p.Group != r.group })
}

// kill kills a reaper that does not respond, and nothing else.
func (r *Reaper) kill() { _ = r.process.Process.Kill() }

// inherit puts this process in the place of a reaper that was killed.
func (r *Reaper) inherit() {
	r.close()
	r.root = os.Getpid()
}

func (r *Reaper) end() {
	if inForeground(r.group) {
		setForeground(os.Stdin, unix.Getpgrp())
	}
	// A reaper that was killed neither reads nor ends well.
	_ = r.send(order{Done: true}, timeout)
	_ = r.pipe.Close()
	_ = r.process.Wait()
}
