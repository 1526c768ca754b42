package fsm

import (
	"fmt"
	"runtime/debug"
	"time"

	"github.com/interrex/interrex"
)

// Stopped returns why the machine is stopped on this agent, and since when; nil
// if it runs. It runs again after a restart of the program, which restores it
// from snapshot and log, or when the leader sends a snapshot.
func (t *Table) Stopped() *Stop { return t.stopped.Load() }

// SnapshotFailed returns why the newest snapshot failed, and since when snapshots
// have failed; nil if it succeeded, or none was made yet.
func (t *Table) SnapshotFailed() *Stop { return t.failed.Load() }

// Busy returns how long the machine's current call has taken; 0 if there is none.
// It never blocks, unlike everything else on this agent that needs a table.
func (t *Table) Busy() time.Duration {
	if since := t.called.Load(); since != nil {
		return max(1, t.config.Clock.Now().Sub(*since))
	}
	return 0
}

// enter records that the machine is in a call, until leave.
func (t *Table) enter() (leave func()) {
	now := t.config.Clock.Now()
	t.called.Store(&now)
	return func() { t.called.Store(nil) }
}

// stop stops the machine on this agent. The first reason stays.
func (t *Table) stop(reason string) {
	if t.stopped.CompareAndSwap(nil, &Stop{Reason: reason, Since: t.config.Clock.Now()}) {
		t.config.Logger.Criticalf("the state machine is stopped on this agent: %s; leases go on", reason)
	}
}

// guarded calls the machine, and stops it if it panics. It reports whether it did
// not.
func (t *Table) guarded(what string, call func()) (ok bool) {
	defer func() {
		if p := recover(); p != nil {
			t.config.Logger.Criticalf("the state machine has panicked: %v\n%s", p, debug.Stack())
			t.stop(fmt.Sprintf("it panicked %s: %.1000s", what, fmt.Sprint(p)))
		}
	}()
	defer t.enter()()
	call()
	return true
}

// errStopped is the error of a command that this agent's machine has not executed.
func (t *Table) errStopped(at interrex.Revision) error {
	return interrex.Errorf(interrex.ErrOutcomeUnknown,
		"the command is in the log at revision %d, and the state machine is stopped on this agent: %s; retry with the same request id when another agent leads", at, t.Stopped().Reason)
}
