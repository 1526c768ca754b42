// Package fsm owns the table of an embedder's own state machine: commands and
// replies as bytes, the replies that are kept for repeated requests, and stopping
// a machine that panics or disagrees with others.
package fsm

import (
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
)

// FSM is an embedder's own state machine, on bytes. All agents of a cluster have
// the same one, and apply the same commands in the same order: what Apply does
// and returns must depend only on the machine's state and the command: no clock,
// no random number, no map iteration order, no file. interrextest.CheckFSM looks
// for such faults.
//
// The methods are called one at a time. They block everything on this agent,
// leases too, while they run: 1 ms is long for Apply, 50 ms for Snapshot. They
// must return, and must not call the agent. If the program reads the machine
// concurrently, the machine needs its own lock.
type FSM interface {
	// Apply executes one command, and returns its result, of at most MaxResult
	// bytes, or an error. Either is the reply: it is kept, and returned again to a
	// repeated request. An *interrex.Error keeps its kind and its message, any
	// other error is interrex.KindConflict with its text; so is a kind that means
	// that nothing has happened. What was changed before an error stays changed.
	// The result is copied. A panic stops the machine on this agent.
	Apply(c Command) (result []byte, err error)
	// Snapshot returns the whole state, of at most MaxSnapshot bytes; equal states
	// must have equal bytes. They are copied. After an error, or a panic, there is
	// no snapshot: the log is kept and grows, and the snapshot is retried later.
	Snapshot() ([]byte, error)
	// Restore replaces the whole state by one that Snapshot returned; the machine
	// may keep the bytes. It may be called on a machine that is in use. After an
	// error, or a panic, the machine is stopped on this agent.
	Restore(snapshot []byte) error
}

// Command is one command, at its position in the log. The machine may keep and
// modify it.
type Command struct {
	// Data is what was proposed.
	Data []byte
	// Revision is unique to the command; it increases with each.
	Revision interrex.Revision
	// Time is cluster time, which never goes back: use it to decide when something
	// ends. Wall is the leader's wall clock, for display. Both are the same on
	// every agent.
	Time time.Duration
	Wall time.Time
}

// The limits of a machine.
const (
	// MaxData is the maximum size of a command in bytes: 1 MiB, less what is stored
	// with it in the log.
	MaxData = state.MaxOperationBytes - 4<<10
	// MaxResult is the maximum size of a result in bytes.
	MaxResult = MaxData
	// MaxError is how many bytes of an error's text are kept.
	MaxError = 4 << 10
	// MaxSnapshot is the maximum size of a snapshot in bytes.
	MaxSnapshot = 256 << 20
	// MaxAnswers and MaxAnswerBytes limit the number and the bytes of the replies
	// that are kept for repeated requests. The newest one is always kept.
	MaxAnswers     = 4096
	MaxAnswerBytes = 16 << 20
)

// Applied is the kind of the event of a command, whose value is an Event.
const Applied = "fsm.applied"

// Event is the value of the event of a command. It does not contain the machine's
// reply, so it is the same on every agent.
type Event struct {
	Data []byte `json:"data"` // the command; must not be modified
}
