// Package execution runs one command under a lease, and owns every process that
// comes of it. A second process, the reaper, starts the command and inherits its
// orphans; it kills all of them when this process dies, or is stopped until the
// lease is about to run out.
package execution

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/hold"
)

// Leftover is what is done with processes that the command leaves running.
type Leftover string

// The values of Leftover.
const (
	Wait  Leftover = "wait"  // hold the lease until they have ended
	Kill  Leftover = "kill"  // end them: SIGTERM, and SIGKILL half a margin later
	Leave Leftover = "leave" // return at once
)

// leftoverGrace is how long processes that the command leaves may take to end
// before they are reported or ended. Without a reaper, which would report their
// end, they are listed at this interval.
const leftoverGrace = 200 * time.Millisecond

// signaled is added to the number of the signal that ended a command to make its
// exit code, as shells do.
const signaled = 128

// ErrLost means that the lease was lost before the command was started.
var ErrLost = errors.New("the lease was lost before the command was started")

// StartError means that the command cannot be started.
type StartError struct{ error }

// Unwrap returns the reason.
func (e StartError) Unwrap() error { return e.error }

// Command is a command, and the lease under which it runs. All fields are required.
type Command struct {
	Path     string
	Args     []string // the first is the command's name
	Env      []string
	Held     interrex.Held
	TTL      time.Duration // of the lease
	Leftover Leftover
	Signals  <-chan os.Signal // are passed on to the command
	Say      func(format string, args ...any)
}

// Result is how a command ended.
type Result struct {
	Code int  // its exit code; if a signal ended it, 128 plus the signal's number
	Lost bool // the lease was lost, and everything that came of the command was ended
	Told bool // it was sent a signal other than HUP
}

// execution is one run of a command, until everything that came of it has ended.
type execution struct {
	Command
	reaper *Reaper

	events    <-chan report    // of the reaper; nil once it has ended
	inherited <-chan time.Time // ticks when this process has inherited from the reaper
	extended  <-chan time.Time // ticks to pass a later deadline on to the reaper
	lose      <-chan struct{}  // closed when the lease is lost; nil once that is known
	leftover  <-chan time.Time // fires when the grace is over
	kill      <-chan time.Time // fires when the time to end politely is over
	rounds    int              // of killing
	exited    bool
	result    Result
}

// Run runs a command until it and every process that came of it has ended, or the
// lease is lost and all of them have been ended. An error other than ErrLost or a
// StartError is the reaper's.
func (r *Reaper) Run(c Command) (Result, error) {
	if err := r.ready(); err != nil {
		return Result{}, err
	}
	if c.Held.Check() != nil {
		return Result{}, ErrLost
	}
	margin := hold.Margin(c.TTL)
	r.extend(c.Held, margin)
	if err := r.start(c.Path, c.Args, c.Env); err != nil {
		return Result{}, err
	}
	e := &execution{Command: c, reaper: r, events: r.events, lose: c.Held.Context().Done()}
	extended := time.NewTicker(margin / 8)
	defer extended.Stop()
	e.extended = extended.C
	e.run()
	return e.result, nil
}

// run returns when there is nothing more to wait for. It checks the lease after
// every event, because this process may have been stopped until then.
func (e *execution) run() {
	for over := false; !over; {
		select {
		case r, open := <-e.events:
			if open {
				over = e.handle(r)
			} else {
				over = e.inherit()
			}
		case <-e.inherited:
			over = len(e.reaper.left()) == 0 || e.result.Lost && e.rounds > 2*killRounds
		case sig := <-e.Signals:
			e.forward(sig.(syscall.Signal))
		case <-e.extended:
			e.reaper.extend(e.Held, hold.Margin(e.TTL))
		case <-e.lose:
		case <-e.leftover:
			e.leftBehind()
		case <-e.kill:
			e.killAgain()
		}
		if !over {
			e.check()
		}
	}
}

// check ends the command when the lease is lost. A command that has already ended,
// in time, but whose exit was not yet reported keeps its exit code.
func (e *execution) check() {
	if e.lose == nil || e.Held.Check() == nil {
		return
	}
	e.lose, e.result.Lost = nil, e.result.Lost || len(e.reaper.left()) > 0
	margin := hold.Margin(e.TTL)
	e.end(min(time.Until(e.Held.Deadline())-margin/2, margin/2))
}

// handle handles a report of the reaper, and reports whether everything is over.
func (e *execution) handle(r report) (over bool) {
	switch r.Event {
	case commandStopped:
		e.Say("the command is stopped, and the lease %s is still held: 'kill -CONT -%d' continues it", e.Held.Key(), e.reaper.group)
	case commandExited:
		e.exited, e.result.Code = true, exitCode(syscall.WaitStatus(r.Number))
		e.result.Lost = e.result.Lost || r.At > e.reaper.endsAt // it may have run until then
		e.leftover = time.After(leftoverGrace)
		return e.Leftover == Leave && !e.result.Lost
	case endPassed:
		e.result.Lost = true
	}
	return r.Event == nothingLeft
}

// inherit takes the place of a reaper that was killed. A command that still runs
// is killed: nothing would end it if this process were killed too.
func (e *execution) inherit() (over bool) {
	e.events = nil
	e.inherited = time.Tick(leftoverGrace)
	e.reaper.inherit()
	const killed = "the process that supervises the command was killed: "
	if e.exited {
		e.Say(killed + "what the command has left running would survive if lock were killed now")
		return false
	}
	e.Say(killed + "the command is killed too")
	extinguish(e.reaper.inGroup)
	return e.handle(report{Event: commandExited, Number: uint32(syscall.SIGKILL)})
}

// forward sends a signal to the command, or to what it has left behind.
func (e *execution) forward(sig syscall.Signal) {
	e.result.Told = e.result.Told || sig != syscall.SIGHUP
	if e.exited {
		e.reaper.signalAll(sig)
	} else {
		e.reaper.signal(sig)
	}
}

// leftBehind says what the command has left behind, and with Kill ends it.
func (e *execution) leftBehind() {
	var names []string
	for _, p := range e.reaper.left() {
		names = append(names, p.String())
	}
	if len(names) == 0 || e.result.Lost {
		return
	}
	text := "they have ended; --leftover kill ends them"
	if e.Leftover == Kill {
		text = "they are ended"
		e.end(hold.Margin(e.TTL) / 2)
	}
	e.Say("the command has left %s running: the lease %s is held until %s", strings.Join(names, ", "), e.Held.Key(), text)
}

// end terminates everything that came of the command, and kills it after a time.
func (e *execution) end(in time.Duration) {
	e.reaper.signalAll(syscall.SIGTERM)
	e.reaper.signalAll(syscall.SIGCONT) // a stopped process does not receive TERM
	e.kill = time.After(in)
}

// killAgain kills everything, and also the reaper if it has not reported in time
// that nothing is left.
func (e *execution) killAgain() {
	killAll(e.reaper.left())
	if e.rounds++; e.rounds > killRounds {
		e.reaper.kill()
	}
	e.kill = time.After(killPause)
}

func exitCode(status syscall.WaitStatus) int {
	if status.Signaled() {
		return signaled + int(status.Signal())
	}
	return status.ExitStatus()
}
