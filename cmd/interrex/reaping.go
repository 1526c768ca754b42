package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// reaping is the reaper's own side: see reaper.
type reaping struct {
	orders *json.Decoder
	end    atomic.Int64 // of the command, as in order

	mu      sync.Mutex // held while something is said
	reports *json.Encoder
}

// newReaper is the hidden command that is the reaper.
func newReaper() *cobra.Command {
	return &cobra.Command{
		Use:    reaperName,
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			r := &reaping{orders: json.NewDecoder(os.Stdin), reports: json.NewEncoder(os.Stdout)}
			return r.run()
		},
	}
}

// run serves the lock until that says that it is done. When the lock is gone
// without a word, everything is killed.
func (r *reaping) run() error {
	// Nothing but the lock, or KILL, ends it. A signal that is caught here, rather
	// than ignored, does to the command what it always does.
	notify(make(chan os.Signal, 1), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1,
		syscall.SIGUSR2, syscall.SIGALRM, syscall.SIGPIPE, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU)
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("cannot inherit what the command leaves behind: %w", err)
	}
	r.say(reaperReady, 0)
	for {
		var told order
		switch err := r.orders.Decode(&told); {
		case err != nil:
			killEverything()
			return nil
		case told.Done:
			return nil
		case told.End != 0:
			r.end.Store(int64(told.End))
		default:
			r.start(told)
		}
	}
}

// say fails only when the lock is gone, which the end of its orders tells too.
func (r *reaping) say(event string, number uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = r.reports.Encode(report{Event: event, Number: number, At: sinceBoot()})
}

// start starts the command in a group of its own, with the lock's standard files,
// which are 3 to 5 here. From the foreground of the terminal it starts in the
// foreground, or it could not read. It does not start when its end has passed.
func (r *reaping) start(told order) {
	var files []*os.File
	for fd := 3; fd < 6; fd++ {
		syscall.CloseOnExec(fd)
		files = append(files, os.NewFile(uintptr(fd), "standard file"))
	}
	if r.left() <= 0 {
		r.say(endPassed, 0)
		return
	}
	group := &syscall.SysProcAttr{Setpgid: true, Foreground: told.Front != 0, Ctty: 3}
	p, err := os.StartProcess(told.Path, told.Args, &os.ProcAttr{Env: told.Env, Files: files, Sys: group})
	if err != nil && told.Front != 0 {
		setForeground(files[0], told.Front)
	}
	for _, f := range files {
		_ = f.Close()
	}
	if err != nil {
		errno := syscall.EINVAL
		errors.As(err, &errno)
		r.say(commandFailed, uint32(errno))
		return
	}
	r.say(commandStarted, uint32(p.Pid))
	go r.wait(p.Pid)
	go r.watch()
}

// left is the time until the end of the command.
func (r *reaping) left() time.Duration { return time.Duration(r.end.Load()) - sinceBoot() }

// watch kills everything at the end, which a lock that is alive moves or does not
// wait for.
func (r *reaping) watch() {
	for r.left() > 0 {
		r.sleep()
	}
	r.say(endPassed, 0)
	killEverything()
}

// sleep sleeps until the end that is known now. A process that was stopped and a
// machine that slept till after that wake up at once, which Go's timers do not do.
func (r *reaping) sleep() {
	end := unix.NsecToTimespec(r.end.Load())
	err := unix.ClockNanosleep(unix.CLOCK_BOOTTIME, unix.TIMER_ABSTIME, &end, nil)
	if err != nil && err != unix.EINTR { // the system has no such clock
		time.Sleep(min(r.left(), time.Second))
	}
}

// killEverything kills all that came of the command.
func killEverything() {
	extinguish(func() []descendant { return descendants(os.Getpid()) })
}

// wait waits for the command and for all that is inherited of it.
func (r *reaping) wait(command int) {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WUNTRACED, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil: // there is no child any more
			r.say(nothingLeft, 0)
			return
		case pid == command && status.Stopped():
			r.say(commandStopped, uint32(status.StopSignal()))
		case pid == command:
			r.say(commandExited, uint32(status))
		}
	}
}
