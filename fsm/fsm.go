// Package fsm owns the table of an embedder's own state machine: commands and
// answers as bytes, the answers that are kept for repeated requests, and the
// stop of a machine that panics or disagrees with others.
package fsm

import (
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
)

// FSM is a state machine of an embedder's own, on bytes. All agents of a cluster
// have the same one, and apply the same commands in the same order: what Apply
// does and answers may depend on nothing but the machine's state and the command:
// no clock, no random number, no order of a map, no file. interrextest.CheckFSM
// looks for such faults.
//
// The methods are called one at a time. They hold up everything on this agent,
// leases too, for as long as they take: 1 ms is long for Apply, 50 ms for
// Snapshot. They must return, and must not call the agent. Reads by the program
// beside them need a lock of the machine's own.
type FSM interface {
	// Apply does one command, and returns its result, of at most MaxResult bytes,
	// or its refusal. Either is the answer: kept, and given again to a repeated
	// request. An *interrex.Error keeps its kind and its message, any other error
	// is interrex.KindConflict with its text; so is a kind that says that nothing
	// has happened. What was changed before an error stays changed. The result is
	// copied. A panic stops the machine on this agent.
	Apply(c Command) (result []byte, err error)
	// Snapshot returns the whole state, of at most MaxSnapshot bytes; equal states
	// give equal bytes. They are copied. After an error, or a panic, there is no
	// snapshot: the log stays, grows, and it is tried again later.
	Snapshot() ([]byte, error)
	// Restore replaces the whole state by one that Snapshot gave; the bytes are the
	// machine's own. It is called on a machine that is in use, too. After an error,
	// or a panic, the machine is stopped on this agent.
	Restore(snapshot []byte) error
}

// Command is one command, at its place in the log. It is the machine's own: it
// may be kept and changed.
type Command struct {
	// Data is what was proposed.
	Data []byte
	// Revision is the command's alone; it rises with each.
	Revision interrex.Revision
	// Time is cluster time, which never goes back: it is what decides when
	// something ends. Wall is the leader's clock, for users' eyes. Both are the
	// same on every agent.
	Time time.Duration
	Wall time.Time
}

// The limits of a machine.
const (
	// MaxData is how many bytes a command has at most: 1 MiB, less what goes with
	// it in the log.
	MaxData = state.MaxOperationBytes - 4<<10
	// MaxResult is how many bytes a result has at most.
	MaxResult = MaxData
	// MaxError is how many bytes of an error's text are kept.
	MaxError = 4 << 10
	// MaxSnapshot is how many bytes a snapshot has at most.
	MaxSnapshot = 256 << 20
	// MaxAnswers and MaxAnswerBytes are how many answers are kept for repeated
	// requests, the newest ones, and how many bytes of them. The newest one is
	// always kept.
	MaxAnswers     = 4096
	MaxAnswerBytes = 16 << 20
)

// Applied is the kind of the event of a command, whose value is an Event.
const Applied = "fsm.applied"

// Event is the value of the event of a command. What the machine answered has no
// part in it: it is the same on every agent.
type Event struct {
	Data []byte `json:"data"` // the command; nobody writes to it
}
