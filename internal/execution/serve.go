package execution

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ReaperName is the command of this program that calls Serve.
const ReaperName = "lock-reaper"

// server is the reaper's own side.
type server struct {
	orders *json.Decoder
	end    atomic.Int64 // of the command, as in order

	mu      sync.Mutex // held while a report is written
	reports *json.Encoder
}

// Serve is the main function of the reaper: it takes orders from in, and writes
// reports to out, until an order says that all is done. When in ends before that,
// the process that started it has ended, and everything is killed.
func Serve(in io.Reader, out io.Writer) error {
	s := &server{orders: json.NewDecoder(in), reports: json.NewEncoder(out)}
	// Only an order or KILL ends the reaper. Signals are caught rather than ignored,
	// because the command would inherit that they are ignored.
	Notify(make(chan os.Signal, 1), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1,
		syscall.SIGUSR2, syscall.SIGALRM, syscall.SIGPIPE, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU)
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("cannot inherit what the command leaves behind: %w", err)
	}
	s.report(reaperReady, 0)
	for {
		var o order
		switch err := s.orders.Decode(&o); {
		case err != nil:
			killEverything()
			return nil
		case o.Done:
			return nil
		case o.End != 0:
			s.end.Store(int64(o.End))
		default:
			s.start(o)
		}
	}
}

// report fails only when the other process is gone, which ends its orders too.
func (s *server) report(event string, number uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.reports.Encode(report{Event: event, Number: number, At: sinceBoot()})
}

// start starts the command in a group of its own, with the standard files of the
// other process, which are 3 to 5 here, and in the foreground of the terminal if
// that was there, or it could not read. It does not start it after its end.
func (s *server) start(o order) {
	var files []*os.File
	for fd := 3; fd < 6; fd++ {
		syscall.CloseOnExec(fd)
		files = append(files, os.NewFile(uintptr(fd), "standard file"))
	}
	if s.left() <= 0 {
		s.report(endPassed, 0)
		return
	}
	group := &syscall.SysProcAttr{Setpgid: true, Foreground: o.Front != 0, Ctty: 3}
	p, err := os.StartProcess(o.Path, o.Args, &os.ProcAttr{Env: o.Env, Files: files, Sys: group})
	if err != nil && o.Front != 0 {
		setForeground(files[0], o.Front)
	}
	for _, f := range files {
		_ = f.Close()
	}
	if err != nil {
		errno := syscall.EINVAL
		errors.As(err, &errno)
		s.report(commandFailed, uint32(errno))
		return
	}
	s.report(commandStarted, uint32(p.Pid))
	go s.wait(p.Pid)
	go s.watch()
}

// left is the time until the end of the command.
func (s *server) left() time.Duration { return time.Duration(s.end.Load()) - sinceBoot() }

// watch kills everything at the command's end, which the other process moves, or
// does not wait for, while it is alive.
func (s *server) watch() {
	for s.left() > 0 {
		s.sleep()
	}
	s.report(endPassed, 0)
	killEverything()
}

// sleep sleeps until the end that is known now. If the process was stopped or the
// machine slept until after that, it returns at once, which Go's timers do not do.
func (s *server) sleep() {
	end := unix.NsecToTimespec(s.end.Load())
	err := unix.ClockNanosleep(unix.CLOCK_BOOTTIME, unix.TIMER_ABSTIME, &end, nil)
	if err != nil && err != unix.EINTR { // the system has no such clock
		time.Sleep(min(s.left(), time.Second))
	}
}

// killEverything kills all that came of the command.
func killEverything() {
	extinguish(func() []Process { return Descendants(os.Getpid()) })
}

// wait waits for the command and for every process that is inherited from it.
func (s *server) wait(command int) {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WUNTRACED, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil: // there is no child left
			s.report(nothingLeft, 0)
			return
		case pid == command && status.Stopped():
			s.report(commandStopped, uint32(status.StopSignal()))
		case pid == command:
			s.report(commandExited, uint32(status))
		}
	}
}
