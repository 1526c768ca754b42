package main

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/hold"
)

// What is done with what the command leaves behind.
const (
	leftoverWait  = "wait"
	leftoverKill  = "kill"
	leftoverLeave = "leave"
)

// leftoverGrace is how long what is left after the command may take to end before
// something is said or done about it. So often is it looked at when there is no
// reaper any more to say that it has ended.
const leftoverGrace = 200 * time.Millisecond

// execution is one run of the command, until everything that came of it has ended.
type execution struct {
	*lock
	held   interrex.Held
	reaper *reaper

	events    <-chan report    // of the reaper; nil once that has ended
	inherited <-chan time.Time // it is time to look whether what that has left has ended
	extended  <-chan time.Time // it is time to look whether the deadline has moved
	lose      <-chan struct{}  // the lease; nil once that is known
	leftover  <-chan time.Time // the grace is over
	kill      <-chan time.Time // the time to end politely is over
	rounds    int              // of killing
	lost      bool
	exited    bool
	code      error // of the command, once it has exited
}

// execute runs the command until it has ended, with what it has left behind, or
// the lease is lost and all of it is ended.
func (l *lock) execute(path string, held interrex.Held, r *reaper) error {
	if err := r.ready(); err != nil {
		return err
	}
	if held.Check() != nil {
		return l.lost(held, "not started")
	}
	r.extend(held, hold.Margin(l.ttl))
	env := append(os.Environ(), "INTERREX_LEASE_KEY="+held.Key().String(), "INTERREX_LEASE_TOKEN="+held.Token().String())
	switch err := r.start(path, l.command, env); {
	case errors.Is(err, errTooLate):
		return l.lost(held, "not started")
	case err != nil:
		return l.cannotRun(err)
	}
	e := &execution{lock: l, held: held, reaper: r, events: r.events, lose: held.Context().Done()}
	extended := time.NewTicker(hold.Margin(l.ttl) / 8)
	defer extended.Stop()
	e.extended = extended.C
	e.run()
	if e.lost {
		return l.lost(held, "ended")
	}
	return e.code
}

// run returns when there is nothing more to wait for. Whatever wakes it, it looks
// at the lease: this process may have been stopped until now.
func (e *execution) run() {
	for over := false; !over; {
		select {
		case said, open := <-e.events:
			if open {
				over = e.hear(said)
			} else {
				over = e.inherit()
			}
		case <-e.inherited:
			over = len(e.reaper.left()) == 0 || e.lost && e.rounds > 2*killRounds
		case sig := <-e.signals:
			e.pass(sig)
		case <-e.extended:
			e.reaper.extend(e.held, hold.Margin(e.ttl))
		case <-e.lose:
		case <-e.leftover:
			e.look()
		case <-e.kill:
			e.killAgain()
		}
		if !over {
			e.check()
		}
	}
}

// check ends the command when the lease is lost. One that has ended already, which
// is about to be heard of, keeps its code if it ended in time.
func (e *execution) check() {
	if e.lose == nil || e.held.Check() == nil {
		return
	}
	e.lose, e.lost = nil, e.lost || len(e.reaper.left()) > 0
	e.end(min(time.Until(e.held.Deadline())-hold.Margin(e.ttl)/2, hold.Margin(e.ttl)/2))
}

// hear takes what the reaper says, and reports whether everything is over.
func (e *execution) hear(said report) (over bool) {
	switch said.Event {
	case commandStopped:
		e.app.say("interrex: the command is stopped, and the lease %s is still held: 'kill -CONT -%d' continues it", e.key, e.reaper.group)
	case commandExited:
		e.exited, e.code = true, commandEnd(syscall.WaitStatus(said.Number))
		e.lost = e.lost || said.At > e.reaper.known // it may have worked till then
		e.leftover = time.After(leftoverGrace)
		return e.leave == leftoverLeave && !e.lost
	case endPassed:
		e.lost = true
	}
	return said.Event == nothingLeft
}

// inherit looks after what the command leaves behind without a reaper. A command
// that still runs is killed: nobody would end it if this process were killed too.
func (e *execution) inherit() (over bool) {
	e.events = nil
	e.inherited = time.Tick(leftoverGrace)
	e.reaper.inherit()
	const killed = "interrex: the process that supervises the command was killed: "
	if e.exited {
		e.app.say(killed + "what the command has left running would survive if lock were killed now")
		return false
	}
	e.app.say(killed + "the command is killed too")
	extinguish(e.reaper.inGroup)
	return e.hear(report{Event: commandExited, Number: uint32(syscall.SIGKILL)})
}

// pass hands a signal on to the command, or to what it has left behind.
func (e *execution) pass(sig os.Signal) {
	e.told = e.told || sig != syscall.SIGHUP
	if e.exited {
		e.reaper.signalAll(sig.(syscall.Signal))
	} else {
		e.reaper.signal(sig.(syscall.Signal))
	}
}

// look says what the command has left behind, and ends it unless it is waited
// for.
func (e *execution) look() {
	var names []string
	for _, p := range e.reaper.left() {
		names = append(names, p.String())
	}
	if len(names) == 0 || e.lost {
		return
	}
	text := "they have ended; --leftover kill ends them"
	if e.leave == leftoverKill {
		text = "they are ended"
		e.end(hold.Margin(e.ttl) / 2)
	}
	e.app.say("interrex: the command has left %s running: the lease %s is held until %s", strings.Join(names, ", "), e.key, text)
}

// end asks everything to end, and kills it after a time.
func (e *execution) end(in time.Duration) {
	e.reaper.signalAll(syscall.SIGTERM)
	e.reaper.signalAll(syscall.SIGCONT) // a stopped one would not hear
	e.kill = time.After(in)
}

// killAgain kills everything, and the reaper too when that does not say in time
// that nothing is left.
func (e *execution) killAgain() {
	killAll(e.reaper.left())
	if e.rounds++; e.rounds > killRounds {
		e.reaper.stop()
	}
	e.kill = time.After(killPause)
}

// commandEnd is the command's own exit code; 128 and the signal's number when
// one ended it.
func commandEnd(status syscall.WaitStatus) error {
	switch {
	case status.Signaled():
		return exit(exitSignal + int(status.Signal()))
	case status.ExitStatus() == 0:
		return nil
	}
	return exit(status.ExitStatus())
}

// oneLeftover checks --leftover.
func oneLeftover(value string) error {
	return oneOf("--leftover", value, []string{leftoverWait, leftoverKill, leftoverLeave})
}
