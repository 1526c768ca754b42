package interrex

import "time"

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
	// Apply does one command, and returns its result, of at most 1 MiB less 4 KiB,
	// or its refusal. Either is the answer: kept, and given again to a repeated
	// request. An *Error keeps its kind and its message, any other error is
	// KindConflict with its text; so is a kind that says that nothing has happened.
	// What was changed before an error stays changed. The result is copied. A panic
	// stops the machine on this agent.
	Apply(c FSMCommand) (result []byte, err error)
	// Snapshot returns the whole state, of at most 256 MiB; equal states give equal
	// bytes. They are copied. After an error, or a panic, there is no snapshot: the
	// log stays, grows, and it is tried again later.
	Snapshot() ([]byte, error)
	// Restore replaces the whole state by one that Snapshot gave; the bytes are the
	// machine's own. It is called on a machine that is in use, too. After an error,
	// or a panic, the machine is stopped on this agent.
	Restore(snapshot []byte) error
}

// FSMCommand is one command, at its place in the log. It is the machine's own: it
// may be kept and changed.
type FSMCommand struct {
	// Data is what was proposed.
	Data []byte
	// Revision is the command's alone; it rises with each.
	Revision Revision
	// Time is cluster time, which never goes back: it is what decides when
	// something ends. Wall is the leader's clock, for users' eyes. Both are the
	// same on every agent.
	Time time.Duration
	Wall time.Time
}

// FSMEvent is the value of the event "fsm.applied", which each command makes.
// What the machine answered has no part in it: it is the same on every agent.
type FSMEvent struct {
	Data []byte `json:"data"` // the command; nobody writes to it
}
